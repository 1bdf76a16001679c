"""The bulk path: many rows through Arrow and ADBC. Which way they take, each database has its module.

Only large writes and readers of DataFrames or Arrow tables come here, and only then Arrow is imported.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import pyarrow as pa
from sqlalchemy import Select, Table

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import bulk_postgresql, bulk_sqlite
from market_pipeline.storage.rows.arrow import arrow_schema, days, integers, joined, ranked, to_arrow
from market_pipeline.storage.rows.read import last_of_each_key, require_inside

if TYPE_CHECKING:
    import pandas as pd


def upsert(database: Database, table: Table, rows: Columns | pd.DataFrame) -> int:
    """As `write.upsert`."""
    batch = to_arrow(table, rows)
    order = last_of_each_key([integers(batch[column.name]) for column in table.primary_key])
    if order is not None:
        batch = batch.take(order)
    return _write(database, table, batch, [], on_conflict=True)


def replace(database: Database, table: Table, rows: Columns | pd.DataFrame, slices: Sequence[Slice]) -> int:
    """As `write.replace`."""
    batch = to_arrow(table, rows)
    require_inside(table.name, ranked(batch["symbol"]), days(table, batch), slices)
    return _write(database, table, batch, slices, on_conflict=False)


def read(
    database: Database,
    table: Table,
    names: Sequence[str],
    statements: Sequence[Select[Any]],
    symbols: Sequence[str],
) -> pd.DataFrame:
    """The rows of `read_table` as a DataFrame."""
    frame: pd.DataFrame = read_table(database, table, names, statements, symbols).to_pandas()
    return frame


def read_table(
    database: Database,
    table: Table,
    names: Sequence[str],
    statements: Sequence[Select[Any]],
    symbols: Sequence[str],
    cancelled: threading.Event | None = None,
) -> pa.Table:
    """The columns `names` of `table`: the rows of all `statements`, each about one of `symbols`.

    On PostgreSQL it raises ReadCancelled once `cancelled` is set.
    """
    schema = arrow_schema(table, names)
    if not statements:
        return schema.empty_table()
    asked = arrow_schema(table, [column.name for column in statements[0].selected_columns])
    if database.dialect == "sqlite":
        found = bulk_sqlite.fetch(database, asked, statements)
    else:
        found = bulk_postgresql.fetch(database, statements, cancelled)
    return joined(found, symbols, schema)


def _write(
    database: Database, table: Table, batch: pa.Table, slices: Sequence[Slice], *, on_conflict: bool
) -> int:
    if database.dialect == "sqlite":
        return bulk_sqlite.write(database, table, batch, slices, on_conflict=on_conflict)
    return bulk_postgresql.write(database, table, batch, slices, on_conflict=on_conflict)
