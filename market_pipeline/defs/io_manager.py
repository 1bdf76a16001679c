"""The IO manager: asset outputs into tables, and the rows of partitions back.

The asset key names the table, `write_mode` in the asset's metadata says how it is written: `upsert`
on the key for facts, `replace` of exactly the run's partitions for what is derived.
"""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Union

import dagster as dg
from sqlalchemy import Table

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.defs.logging.log_fields import io_fields
from market_pipeline.defs.partitions import days_of
from market_pipeline.logs import bound, get_logger
from market_pipeline.storage.engine import Database
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

    An input annotated `Columns` is read without importing pandas; any other becomes a DataFrame with
    aware UTC timestamps. Input metadata `columns` names the columns to read.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def handle_output(self, context: dg.OutputContext, obj: Rows | Scored) -> None:
        """Write in one transaction; on any error nothing is written.

        Up to which quote was scored is noted after the rows: cut off in between, it is behind, not ahead.
        """
        with bound(**io_fields(context)):
            if not isinstance(obj, Scored):
                self._write(context, obj)
                return
            from market_pipeline.storage.queries.scores import record_scored

            self._write(context, obj.rows)
            record_scored(self._database, obj.newest)

    def load_input(self, context: dg.InputContext) -> Rows:
        """The rows of the input's partitions; no partitions are no rows, typed all the same."""
        with bound(**io_fields(context)):
            return self._read(context)

    def _write(self, context: dg.OutputContext, obj: Rows) -> None:
        from market_pipeline.storage.rows.write import replace, upsert

        table = _table(context.asset_key)
        if not isinstance(obj, Columns):
            if not hasattr(obj, "columns"):
                raise TypeError(f"{table.name} stores Columns or a DataFrame, not {type(obj).__name__}")
            obj = Columns.from_frame(obj)
        mode = (context.definition_metadata or {}).get("write_mode")
        if mode not in ("upsert", "replace"):
            raise ValueError(
                f"the metadata of {table.name} must have write_mode upsert or replace, not {mode!r}"
            )
        if mode == "replace" and not context.has_asset_partitions:
            raise ValueError(
                f"{table.name} is replaced by partitions: give the asset partitions, or write_mode upsert"
            )
        database = self._database
        check_schema(database)
        started = time.perf_counter()
        if mode == "upsert":
            written = upsert(database, table, obj)
        else:
            written = replace(database, table, obj, _slices(context.asset_partition_keys))
        duration_ms = round(1000 * (time.perf_counter() - started), 1)
        context.add_output_metadata({"rows_written": written, "write_ms": duration_ms})
        logger.info(
            "Wrote %s rows to %s",
            written,
            table.name,
            extra={"rows_affected": written, "duration_ms": duration_ms},
        )

    def _read(self, context: dg.InputContext) -> Rows:
        from market_pipeline.storage.rows.read import read_arrow, read_columns

        table = _table(context.asset_key)
        if not context.has_asset_partitions:
            raise ValueError(
                f"{table.name} is read by partitions: give the reader partitions, or let it depend on "
                f"{table.name} with deps and query what it needs"
            )
        database = self._database
        check_schema(database)
        started = time.perf_counter()
        slices = _slices(context.asset_partition_keys)
        columns: Sequence[str] | None = (context.definition_metadata or {}).get("columns")
        if context.dagster_type.typing_type is Columns:
            rows: Rows = read_columns(database, table, slices, columns)
        else:
            rows = read_arrow(database, table, slices, columns).to_pandas()
        duration_ms = round(1000 * (time.perf_counter() - started), 1)
        logger.info(
            "Read %s rows of %s",
            len(rows),
            table.name,
            extra={"rows_affected": len(rows), "duration_ms": duration_ms},
        )
        return rows


def _table(key: dg.AssetKey) -> Table:
    name = key.path[-1]
    if name not in tables.metadata.tables:
        raise ValueError(f"asset {name} has no table; the tables are {', '.join(tables.metadata.tables)}")
    return tables.metadata.tables[name]


def _slices(keys: Iterable[Any]) -> list[Slice]:
    # In range runs the keys come unordered, and the range itself cannot be asked for.
    return merge_days(days_of(keys))
