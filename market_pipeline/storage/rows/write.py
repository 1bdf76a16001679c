"""Writing: `upsert` for facts, `replace` for what is derived. Each is one transaction.

Small writes go through the ordinary driver, large ones through Arrow (see `bulk`): below some ten
thousand rows importing Arrow costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Connection, Table, delete

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.rows.read import MICROSECONDS_PER_DAY, Integers, Ranked, last_of_each_key, require_inside
from market_pipeline.storage.rows.records import parameters_of
from market_pipeline.storage.rows.statements import arrays_as_rows, insert_from, insert_row
from market_pipeline.storage.rows.validation import checked_columns

if TYPE_CHECKING:
    import pandas as pd


BULK_FROM = 20_000
_ROWS_PER_STATEMENT = 5_000


def upsert(database: Database, table: Table, rows: Columns | pd.DataFrame) -> int:
    """Insert `rows`, or update the row of the same key where it says something else.

    Which columns decide is `table.info["decides_change"]`; a row that agrees in them is left alone.
    Of rows with equal keys the last counts. Returns how many rows were inserted or changed. Raises
    ValueError for rows that do not fit the table and WriteFailed if the database refuses one; nothing
    is written then.
    """
    if len(rows) >= BULK_FROM:
        from market_pipeline.storage.rows import bulk

        return bulk.upsert(database, table, rows)
    columns = checked_columns(table, rows)
    if not len(columns):
        return 0
    order = last_of_each_key([_integers(columns, column) for column in table.primary_key])
    if order is not None:
        columns = columns.take(order)
    with database.writing(table) as connection:
        return insert(connection, table, columns, on_conflict=True)


def replace(database: Database, table: Table, rows: Columns | pd.DataFrame, slices: Sequence[Slice]) -> int:
    """Make `rows` the whole content of `slices`; other rows are not touched.

    What the slices held of another coin goes too.

    Returns how many rows were inserted. Raises ValueError if a row lies outside `slices` or does not
    fit the table, and WriteFailed if the database refuses one; nothing is changed then.
    """
    if len(rows) >= BULK_FROM:
        from market_pipeline.storage.rows import bulk

        return bulk.replace(database, table, rows, slices)
    columns = checked_columns(table, rows)
    require_inside(table.name, _ranked(columns["symbol"]), _days(table, columns), slices)
    with database.writing(table) as connection:
        for part in slices:
            connection.execute(delete(table).where(in_slice_of_any_coin(table, part)))
        return insert(connection, table, columns, on_conflict=False)


def insert(connection: Connection, table: Table, columns: Columns, *, on_conflict: bool) -> int:
    """Insert rows of distinct keys inside the transaction of `connection`; how many were inserted or changed.

    With `on_conflict` the row of the same key is updated as by `upsert`.
    """
    if not len(columns):
        return 0
    values = parameters_of(table, columns, connection.dialect.name)
    if connection.dialect.name == "sqlite":
        text = insert_row(table, on_conflict=on_conflict)
        return connection.exec_driver_sql(text, list(zip(*values, strict=True))).rowcount
    text = insert_from(table, "postgresql", arrays_as_rows(table), on_conflict=on_conflict)
    written = 0
    for first in range(0, len(columns), _ROWS_PER_STATEMENT):
        arrays = tuple(column[first : first + _ROWS_PER_STATEMENT] for column in values)
        written += connection.exec_driver_sql(text, arrays).rowcount
    return written


def _integers(columns: Columns, column: Column[Any]) -> Integers:
    """A column of the key as integers that sort like it."""
    array = columns[column.name]
    return array.view(np.int64) if array.dtype.kind == "M" else _ranked(array).ranks


def _ranked(texts: NDArray[Any]) -> Ranked:
    distinct, ranks = np.unique(texts, return_inverse=True)
    return Ranked(distinct.tolist(), ranks)


def _days(table: Table, columns: Columns) -> Integers:
    if "day" in table.columns:
        return columns["day"].astype("datetime64[D]").view(np.int64)
    return columns["timestamp"].view(np.int64) // MICROSECONDS_PER_DAY
