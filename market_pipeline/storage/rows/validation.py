"""What must hold of rows before they are written: the table's columns and types, distinct keys, the replaced slices."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Boolean, Column, Date, Integer, Table

from market_pipeline.core.clock import MICROSECONDS_PER_DAY, day_of_number, number_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.rows.records import NOT_A_TIME, numpy_type

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Ranked:
    """A text column: its texts in order, and the rank of the text of each row."""

    texts: list[str]
    ranks: Integers

    @classmethod
    def of(cls, array: NDArray[Any]) -> "Ranked":
        """Rank the texts of a column without missing values."""
        values = array.tolist()
        texts = sorted(set(values))
        rank = {text: number for number, text in enumerate(texts)}
        return cls(texts, np.fromiter(map(rank.__getitem__, values), np.int64, len(values)))


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
    key = [Ranked.of(array).ranks if array.dtype.kind == "O" else array.view(np.int64) for array in arrays]
    order = last_of_each_key(key)
    return columns if order is None else columns.take(order)


def last_of_each_key(key: Sequence[Integers]) -> NDArray[np.intp] | None:
    """Return which rows to take, in order of the key and of equal keys the last; None if they are so already."""
    greater = np.zeros(max(len(key[0]) - 1, 0), dtype=np.bool_)
    equal = ~greater
    for column in key:
        greater |= equal & (column[1:] > column[:-1])
        equal &= column[1:] == column[:-1]
    if greater.all():
        return None
    order = np.lexsort(list(reversed(key)))
    same_as_next = np.ones(len(order) - 1, dtype=np.bool_)
    for column in key:
        ordered = column[order]
        same_as_next &= ordered[1:] == ordered[:-1]
    kept: NDArray[np.intp] = order[np.append(~same_as_next, True)]
    return kept


def require_inside(table: Table, columns: Columns, slices: Sequence[Slice]) -> None:
    """ValueError if a row belongs to none of `slices`: the next replacement would not delete it."""
    symbols = Ranked.of(columns["symbol"])
    if "day" in table.columns:
        days = columns["day"].astype("datetime64[D]").view(np.int64)
    else:
        days = columns["timestamp"].view(np.int64) // MICROSECONDS_PER_DAY
    rank = {symbol: number for number, symbol in enumerate(symbols.texts)}
    count = max(len(rank), 1)
    allowed = [
        np.arange(number_of_day(part.first), number_of_day(part.last) + 1) * count + rank[part.symbol]
        for part in slices
        if part.symbol in rank
    ]
    inside = np.isin(days * count + symbols.ranks, np.concatenate(allowed) if allowed else [])
    outside = np.flatnonzero(~inside)
    if len(outside):
        first = outside[0]
        raise ValueError(
            f"{len(outside)} rows for {table.name} lie outside the partitions that are replaced, "
            f"the first being {columns['symbol'][first]} {day_of_number(int(days[first]))}"
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
    """ValueError if a value is not of `accepted` types; None is accepted too."""
    values = array.tolist()
    for kind in set(map(type, values)) - {type(None)}:
        if not issubclass(kind, accepted) or issubclass(kind, refused):
            wrong = next(value for value in values if type(value) is kind)
            raise ValueError(f"column {column.name} must hold {what}, not {wrong!r}")
