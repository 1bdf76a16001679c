"""The bulk path: many rows through Arrow and ADBC; how they travel, each database has its module.

Only large writes and reads come here, and only then is Arrow imported.
"""

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sqlalchemy import Boolean, Column, Date, Select, Table

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows import bulk_postgresql, bulk_sqlite
from market_pipeline.storage.rows.records import numpy_type
from market_pipeline.storage.schema.types import UtcTimestamp


def write(database: Database, table: Table, columns: Columns, slices: Sequence[Slice], *, on_conflict: bool) -> int:
    """Delete `slices`, then insert checked rows of distinct keys; return how many were inserted or changed.

    With `on_conflict` the row of the same key is updated as by `write.upsert`.
    """
    schema = _arrow_schema(table, list(columns.arrays))
    arrays = [
        # A price that is not a number must reach the constraint that refuses it.
        pa.array(columns[field.name], from_pandas=bool(table.columns[field.name].nullable)).cast(field.type)
        for field in schema
    ]
    batch = pa.table(arrays, schema=schema)
    if database.dialect == "sqlite":
        return bulk_sqlite.write(database, table, batch, slices, on_conflict=on_conflict)
    return bulk_postgresql.write(database, table, batch, slices, on_conflict=on_conflict)


def read_table(
    database: Database,
    table: Table,
    names: Sequence[str],
    statements: Sequence[Select[Any]],
    symbols: Sequence[str],
    cancelled: threading.Event | None = None,
) -> pa.Table:
    """Return the columns `names` of `table`: the rows of all `statements`, each about one of `symbols`.

    On PostgreSQL it raises ReadCancelled once `cancelled` is set.
    """
    schema = _arrow_schema(table, names)
    if not statements:
        return schema.empty_table()
    if database.dialect == "sqlite":
        selected = _arrow_schema(table, [column.name for column in statements[0].selected_columns])
        parts = bulk_sqlite.fetch(database, selected, statements)
    else:
        parts = bulk_postgresql.fetch(database, statements, cancelled)
    return pa.concat_tables(_typed(part, symbol, schema) for part, symbol in zip(parts, symbols, strict=True))


def columns_of_arrow(table: pa.Table) -> Columns:
    """Convert an Arrow table of `read_table` to Columns."""
    return Columns({name: _array(table[name]) for name in table.column_names})


def _arrow_schema(table: Table, names: Sequence[str]) -> pa.Schema:
    return pa.schema([pa.field(name, _arrow_type(table.columns[name])) for name in names])


def _arrow_type(column: Column[Any]) -> pa.DataType:
    """Return the type of a column in Arrow: times in microseconds UTC, whatever the database."""
    if isinstance(column.type, UtcTimestamp):
        return pa.timestamp("us", tz="UTC")
    kind = numpy_type(column)
    if kind.kind in "fi":
        return pa.from_numpy_dtype(kind)
    if isinstance(column.type, Boolean):
        return pa.bool_()
    return pa.date32() if isinstance(column.type, Date) else pa.string()


def _typed(part: pa.Table, symbol: str, schema: pa.Schema) -> pa.Table:
    """Convert what a driver made of the rows of `symbol` to `schema`."""
    columns = []
    for field in schema:
        column = pa.repeat(symbol, len(part)) if field.name == "symbol" else part[field.name]
        if pa.types.is_timestamp(field.type) and pa.types.is_integer(column.type):
            column = column.cast(pa.timestamp("us"))
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)


def _array(column: pa.ChunkedArray) -> NDArray[Any]:
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us"))
    if pa.types.is_date(column.type):
        return np.array(column.to_pylist(), dtype=object)
    array: NDArray[Any] = column.to_numpy()
    return array
