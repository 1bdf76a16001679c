"""Check rows against their table and write them: `upsert` for facts, `replace` for what is derived.

Each is one transaction. Small writes go through the ordinary driver, large ones through Arrow (see `bulk`): below
some ten thousand rows importing Arrow costs more than it saves.
"""

from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Boolean, Column, Connection, Date, Integer, Table, delete

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.rows.records import NOT_A_TIME, numpy_type, parameters_of
from market_pipeline.storage.rows.statements import arrays_as_rows, insert_from, insert_row

BULK_FROM = 20_000
_ROWS_PER_STATEMENT = 5_000


def upsert(database: Database, table: Table, rows: Columns) -> int:
    """Insert `rows`, or update the row of the same key where it differs; return how many were inserted or changed.

    Which columns decide is `table.info["decides_change"]`; a row that agrees in them stays as it is. Of rows with
    equal keys the last counts. Raises ValueError for rows that do not fit the table and WriteFailed if the database
    refuses one; nothing is written then.
    """
    columns = distinct(table, checked_columns(table, rows))
    return _write(database, table, columns, [], on_conflict=True) if len(columns) else 0


def replace(database: Database, table: Table, rows: Columns, slices: Sequence[Slice]) -> int:
    """Make `rows` the whole content of `slices`, rows of another coin included; return how many were inserted.

    Raises ValueError if a row lies outside `slices` or does not fit the table, and WriteFailed if the
    database refuses one; nothing is changed then.
    """
    columns = checked_columns(table, rows)
    require_inside(table, columns, slices)
    return _write(database, table, columns, slices, on_conflict=False)


def insert(connection: Connection, table: Table, columns: Columns, *, on_conflict: bool) -> int:
    """Insert rows of distinct keys inside the transaction of `connection`; return how many were inserted or changed.

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


def _write(database: Database, table: Table, columns: Columns, slices: Sequence[Slice], *, on_conflict: bool) -> int:
    if len(columns) >= BULK_FROM:
        from market_pipeline.storage.rows import bulk

        return bulk.write(database, table, columns, slices, on_conflict=on_conflict)
    with database.writing(table) as connection:
        for part in slices:
            connection.execute(delete(table).where(in_slice_of_any_coin(table, part)))
        return insert(connection, table, columns, on_conflict=on_conflict)


def checked_columns(table: Table, rows: Columns) -> Columns:
    """Return `rows` as columns of exactly `table`, in its order, each of its type.

    Raises ValueError naming what is missing or unknown, a column that is not of its type, or a key without value.
    """
    names = [column.name for column in table.columns]
    if sorted(rows.arrays) != sorted(names):
        raise ValueError(
            f"rows for {table.name} must have exactly its columns; missing: {sorted(set(names) - set(rows.arrays))}, "
            f"unknown: {sorted(set(rows.arrays) - set(names))}"
        )
    return Columns({column.name: _checked(table, column, rows[column.name]) for column in table.columns})


def distinct(table: Table, columns: Columns) -> Columns:
    """Return the rows in the order of the table's key; of rows with equal keys the last."""
    arrays = [columns[column.name] for column in table.primary_key]
    key = [array.view(np.int64) if array.dtype.kind == "M" else array for array in arrays]
    increasing = np.zeros(max(len(columns) - 1, 0), dtype=np.bool_)
    equal = ~increasing
    for array in key:
        increasing |= equal & (array[1:] > array[:-1]).astype(np.bool_)
        equal &= (array[1:] == array[:-1]).astype(np.bool_)
    if increasing.all():
        return columns
    last = {row: number for number, row in enumerate(zip(*(array.tolist() for array in key), strict=True))}
    return columns.take(np.array([last[row] for row in sorted(last)], dtype=np.intp))


def require_inside(table: Table, columns: Columns, slices: Sequence[Slice]) -> None:
    """Raise ValueError if a row belongs to none of `slices`: the next replacement would not delete it."""
    days = columns["day"] if "day" in table.columns else columns["timestamp"].astype("datetime64[D]")
    allowed = {(part.symbol, day) for part in slices for day in part.days}
    outside = [row for row in zip(columns["symbol"].tolist(), days.tolist(), strict=True) if row not in allowed]
    if outside:
        raise ValueError(
            f"{len(outside)} rows for {table.name} lie outside the partitions that are replaced, "
            f"the first being {outside[0][0]} {outside[0][1]}"
        )


def _checked(table: Table, column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    kind = numpy_type(column).kind
    check = _times if kind == "M" else _numbers if kind in "fi" else _objects
    checked = check(column, array)
    if column.primary_key and (np.isnat(checked).any() if kind == "M" else None in checked.tolist()):
        raise ValueError(f"column {column.name} of {table.name} is part of the key and must not be empty")
    return checked


def _times(column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "O" and all(value is None for value in array):
        # A column without any value has no type of its own.
        array = np.full(len(array), NOT_A_TIME, dtype=np.int64).view("datetime64[us]")
    if array.dtype.kind != "M":
        raise ValueError(f"column {column.name} must be datetime64 in UTC, not {array.dtype}")
    return array.astype("datetime64[us]", copy=False)


def _numbers(column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    if array.dtype.kind == "O":
        _require_types(column, array, "numbers", (int, float, np.number), (bool,))
    elif array.dtype.kind not in "iuf":
        raise ValueError(f"column {column.name} must hold numbers, not {array.dtype}")
    numbers = array.astype(np.float64, copy=False)
    if isinstance(column.type, Integer):
        wrong = ~(np.isfinite(numbers) & (numbers == np.floor(numbers)) | (np.isnan(numbers) & bool(column.nullable)))
        if wrong.any():
            raise ValueError(f"column {column.name} must hold whole numbers, not {numbers[wrong][0]}")
    return numbers.astype(numpy_type(column), copy=False)


def _objects(column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    if isinstance(column.type, Date):
        _require_types(column, array, "dates", (date,), (datetime,))
    elif isinstance(column.type, Boolean):
        _require_types(column, array, "booleans", (bool,), ())
    else:
        _require_types(column, array, "text", (str,), ())
    return array.astype(object, copy=False)


def _require_types(
    column: Column[Any], array: NDArray[Any], what: str, accepted: tuple[type, ...], refused: tuple[type, ...]
) -> None:
    """Raise ValueError if a value is not of `accepted` types; None is accepted too."""
    values = array.tolist()
    for kind in set(map(type, values)) - {type(None)}:
        if not issubclass(kind, accepted) or issubclass(kind, refused):
            wrong = next(value for value in values if type(value) is kind)
            raise ValueError(f"column {column.name} must hold {what}, not {wrong!r}")
