"""Reading the rows of slices. Every read is bounded, so its cost follows what is asked, not what is stored.

`read_columns` goes through the ordinary driver and imports nothing heavy; `read_frame` goes through
ADBC and Arrow for whoever works with DataFrames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, ColumnElement, Select, Table, cast, func, select, type_coerce

from market_pipeline.core.clock import day_of_number, number_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice
from market_pipeline.storage.rows.records import NOT_A_TIME, empty_columns, numpy_type
from market_pipeline.storage.schema.types import UtcTimestamp

if TYPE_CHECKING:
    import pandas as pd


Integers = NDArray[np.int64]

MICROSECONDS_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Ranked:
    """A text column: its texts in order, and the rank of each row's."""

    texts: list[str]
    ranks: Integers


def last_of_each_key(key: Sequence[Integers]) -> NDArray[np.intp] | None:
    """Which rows to take, in order of the key and of equal keys the last; None if they are so already."""
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


def require_inside(table_name: str, symbols: Ranked, days: Integers, slices: Sequence[Slice]) -> None:
    """ValueError if a row belongs to none of `slices`: the next replacement would leave it."""
    astray = _outside(symbols, days, slices)
    if len(astray):
        symbol, day = symbols.texts[symbols.ranks[astray[0]]], day_of_number(int(days[astray[0]]))
        raise ValueError(
            f"{len(astray)} rows for {table_name} lie outside the partitions that are replaced, "
            f"the first being {symbol} {day}"
        )


def _outside(symbols: Ranked, days: Integers, slices: Sequence[Slice]) -> NDArray[np.intp]:
    rank = {symbol: number for number, symbol in enumerate(symbols.texts)}
    count = max(len(rank), 1)
    allowed = [
        np.arange(number_of_day(part.first), number_of_day(part.last) + 1) * count + rank[part.symbol]
        for part in slices
        if part.symbol in rank
    ]
    inside = np.isin(days * count + symbols.ranks, np.concatenate(allowed) if allowed else [])
    return np.flatnonzero(~inside)


# So few rows are gone before the garbage collector looks. Rows by the thousand make it walk through all
# objects of the process again and again, which costs more than reading them.
_ROWS_AT_ONCE = 250


def read_columns(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> Columns:
    """The rows of `slices`, ordered by slice and within it by the table's key; typed when empty.

    Raises ValueError for `columns` that the table does not have.
    """
    names = _names(table, columns)
    asked = _without_symbol(names)
    chosen = [readable(table.columns[name], database.dialect) for name in asked]
    values: list[list[Any]] = [[] for _ in asked]
    ends = [0]
    with database.reading() as connection:
        for part in slices:
            for rows in connection.execute(_rows_of(database, table, part, chosen)).partitions(_ROWS_AT_ONCE):
                for column, more in zip(values, zip(*rows), strict=True):
                    column.extend(more)
            ends.append(len(values[0]))
    arrays = {name: _array(table.columns[name], column) for name, column in zip(asked, values, strict=True)}
    arrays["symbol"] = np.repeat(np.array([part.symbol for part in slices], dtype=object), np.diff(ends))
    return Columns({name: arrays[name] for name in names})


def read_frame(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same rows as a DataFrame: times are aware UTC, dtypes do not depend on database or row count."""
    from market_pipeline.storage.rows import bulk

    names = _names(table, columns)
    asked = [table.columns[name] for name in _without_symbol(names)]
    statements = [_rows_of(database, table, part, asked) for part in slices]
    return bulk.read(database, table, names, statements, [part.symbol for part in slices])


def rows_per_day(database: Database, table: Table, slices: Sequence[Slice]) -> Counter[tuple[date, str]]:
    """How many rows each (UTC day, symbol) of `slices` holds."""
    day: ColumnElement[Any] = (
        table.columns["day"] if "day" in table.columns else _day_number(table, database.dialect)
    )
    counted = select(day, func.count()).group_by(day)
    found: Counter[tuple[date, str]] = Counter()
    with database.reading() as connection:
        for part in slices:
            for filed, count in connection.execute(counted.where(in_slice(database, table, part))):
                found[filed if isinstance(filed, date) else day_of_number(filed), part.symbol] += (
                    count
                )
    return found


def columns_from_rows(table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Rows in which times are microseconds since 1970 (see `readable`) as typed columns."""
    if not rows:
        return empty_columns(table, names)
    return Columns(
        {name: _array(table.columns[name], values) for name, values in zip(names, zip(*rows), strict=True)}
    )


def readable(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    """A column as it is read fastest: a time as integer microseconds, not as a datetime."""
    if not isinstance(column.type, UtcTimestamp):
        return column
    return _microseconds(column, dialect).label(column.name)


def _microseconds(column: Column[Any], dialect: str) -> ColumnElement[int]:
    if dialect == "sqlite":
        return type_coerce(column, BigInteger)
    # As a float this is exact to the microsecond up to the year 2106, and much cheaper than numeric.
    return cast(func.date_part("epoch", column) * 1_000_000, BigInteger)


def _day_number(table: Table, dialect: str) -> ColumnElement[int]:
    return _microseconds(table.columns["timestamp"], dialect).op("/")(MICROSECONDS_PER_DAY)


def _names(table: Table, columns: Sequence[str] | None) -> list[str]:
    known = [column.name for column in table.columns]
    unknown = sorted(set(columns or ()) - set(known))
    if unknown:
        raise ValueError(f"{table.name} has no columns {unknown}; it has {known}")
    return list(columns) if columns else known


def _without_symbol(names: Sequence[str]) -> list[str]:
    """What is asked of the database: the symbol of a slice is known, and text is dear to carry."""
    return [name for name in names if name != "symbol"] or ["symbol"]


def _rows_of(
    database: Database, table: Table, part: Slice, chosen: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    order = ["day", "id"] if "day" in table.columns else [key.name for key in table.primary_key]
    return select(*chosen).where(in_slice(database, table, part)).order_by(*(table.columns[name] for name in order))


def _array(column: Column[Any], values: Sequence[Any]) -> NDArray[Any]:
    kind = numpy_type(column)
    if kind.kind == "M":
        if column.nullable:
            values = [NOT_A_TIME if value is None else value for value in values]
        return np.array(values, dtype=np.int64).view(kind)
    if kind.kind in "fi":
        return np.array(values, dtype=kind)  # None becomes NaN.
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array
