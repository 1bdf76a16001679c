"""The IO manager: writes asset outputs to tables, and reads the rows of partitions.

The asset key names the table. `write_mode` in the asset's metadata is `upsert` on the key for facts, or `replace` of
exactly the run's partitions for what is derived.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Union

import dagster as dg
from sqlalchemy import Table

from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.defs.logging.log_fields import io_fields
from market_pipeline.defs.partitions import days_of
from market_pipeline.logs import bound, get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.read import read_arrow, read_columns
from market_pipeline.storage.rows.write import replace, upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

if TYPE_CHECKING:
    import pandas as pd

Rows = Union[Columns, "pd.DataFrame"]

logger = get_logger(__name__)


@dataclass(frozen=True)
class Scored:
    """Rows to store, and the newest quote of each symbol that was scored for them."""

    rows: Columns
    newest: Mapping[str, datetime]


class DatabaseIOManager(dg.IOManager):
    """Stores `Columns` (or `Scored` ones) or DataFrames of exactly the table's columns; times must be aware.

    An input annotated `Columns` is read without importing pandas; any other becomes a DataFrame with aware UTC
    timestamps. Input metadata `columns` names the columns to read, `days_after` how many more days after the input's
    partitions, `of_all_symbols` that the same days of every configured symbol are read.
    """

    def __init__(self, database: Database) -> None:
        self._of_any_schema = database

    @cached_property
    def _database(self) -> Database:
        """The database, whose schema is checked once."""
        check_schema(self._of_any_schema)
        return self._of_any_schema

    def handle_output(self, context: dg.OutputContext, obj: Rows | Scored) -> None:
        """Write in one transaction; on any error nothing is written.

        The newest scored quotes are recorded after the rows: if the process dies in between, the record is behind.
        """
        with bound(**io_fields(context)):
            self._write(context, obj.rows if isinstance(obj, Scored) else obj)
            if isinstance(obj, Scored):
                record_scored(self._database, obj.newest)

    def load_input(self, context: dg.InputContext) -> Rows:
        """Return the rows of the input's partitions; without partitions no rows, of the right types."""
        with bound(**io_fields(context)):
            return self._read(context)

    def _write(self, context: dg.OutputContext, obj: Rows) -> None:
        table = _table(context.asset_key)
        if not isinstance(obj, Columns):
            if not hasattr(obj, "columns"):
                raise TypeError(f"{table.name} stores Columns or a DataFrame, not {type(obj).__name__}")
            obj = Columns.from_frame(obj)
        mode = (context.definition_metadata or {}).get("write_mode")
        if mode not in ("upsert", "replace"):
            raise ValueError(f"the metadata of {table.name} must have write_mode upsert or replace, not {mode!r}")
        if mode == "replace" and not context.has_asset_partitions:
            raise ValueError(f"{table.name} is replaced by partitions: give the asset partitions, or upsert")
        database, started = self._database, time.perf_counter()
        if mode == "upsert":
            written = upsert(database, table, obj)
        else:
            written = replace(database, table, obj, _slices(context.asset_partition_keys))
        symbols = len({*obj["symbol"]}) if "symbol" in obj.arrays else 0
        _log("Wrote %s rows to %s", written, table, started, rows_written=written, symbols=symbols)

    def _read(self, context: dg.InputContext) -> Rows:
        table = _table(context.asset_key)
        if not context.has_asset_partitions:
            raise ValueError(
                f"{table.name} is read by partitions: give the reader partitions, or let it depend on {table.name} "
                "with deps and query what it needs"
            )
        database, started = self._database, time.perf_counter()
        metadata = context.definition_metadata or {}
        slices = _slices(context.asset_partition_keys)
        if metadata.get("of_all_symbols"):
            days = {day for part in slices for day in part.days}
            slices = merge_days((day, symbol) for day in days for symbol in database.coins)
        more = metadata.get("days_after", 0) * DAY
        slices = [Slice(one.symbol, one.first, one.last + more) for one in slices]
        columns: Sequence[str] | None = metadata.get("columns")
        if context.dagster_type.typing_type is Columns:
            rows: Rows = read_columns(database, table, slices, columns)
        else:
            rows = read_arrow(database, table, slices, columns).to_pandas()
        _log("Read %s rows of %s", len(rows), table, started)
        return rows


def _log(message: str, rows: int, table: Table, started: float, **fields: int) -> None:
    duration_ms = round(1000 * (time.perf_counter() - started), 1)
    logger.info(message, rows, table.name, extra={"rows_affected": rows, "duration_ms": duration_ms, **fields})


def _table(key: dg.AssetKey) -> Table:
    name = key.path[-1]
    if name not in tables.metadata.tables:
        raise ValueError(f"asset {name} has no table; the tables are {', '.join(tables.metadata.tables)}")
    return tables.metadata.tables[name]


def _slices(keys: Iterable[Any]) -> list[Slice]:
    # In range runs the keys come unordered, and Dagster has no range for them.
    return merge_days(days_of(keys))
