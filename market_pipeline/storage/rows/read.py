"""Reading the rows of slices. Every read is bounded: its cost follows the rows returned, not the rows stored.

`read_columns` goes through the ordinary driver and imports nothing heavy. The other two go through ADBC
and Arrow: faster from some ten thousand rows on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import BigInteger, Column, ColumnElement, Select, Table, cast, func, select, type_coerce

from market_pipeline.core.clock import MICROSECONDS_PER_DAY, day_of_number
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice, united
from market_pipeline.storage.rows.records import array_of
from market_pipeline.storage.schema.types import UtcTimestamp

if TYPE_CHECKING:
    import pyarrow as pa

# Few rows at once are freed before the garbage collector runs. Rows by the thousand make it walk through all
# objects of the process again and again, which costs more than reading them.
_ROWS_AT_ONCE = 250


def read_columns(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> Columns:
    """Return the rows of `slices`, ordered by slice and within it by the table's key; typed when empty.

    Raises ValueError for `columns` that the table does not have.
    """
    names = _names(table, columns)
    selected = _without_symbol(names)
    readables = [readable(table.columns[name], database.dialect) for name in selected]
    values: list[list[Any]] = [[] for _ in selected]
    ends = [0]
    with database.reading() as connection:
        for part in slices:
            for rows in connection.execute(_rows_of(database, table, part, readables)).partitions(_ROWS_AT_ONCE):
                for column, more in zip(values, zip(*rows, strict=True), strict=True):
                    column.extend(more)
            ends.append(len(values[0]))
    arrays = {name: array_of(table.columns[name], column) for name, column in zip(selected, values, strict=True)}
    arrays["symbol"] = np.repeat(np.array([part.symbol for part in slices], dtype=object), np.diff(ends))
    return Columns({name: arrays[name] for name in names})


def read_arrow(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> pa.Table:
    """Return the rows of `read_columns` as an Arrow table, whose types depend on neither database nor row count."""
    from market_pipeline.storage.rows import bulk

    names = _names(table, columns)
    selected = [table.columns[name] for name in _without_symbol(names)]
    statements = [_rows_of(database, table, part, selected) for part in slices]
    return bulk.read_table(database, table, names, statements, [part.symbol for part in slices])


def read_many_columns(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> Columns:
    """Return the rows of `read_columns`, read through Arrow."""
    from market_pipeline.storage.rows import bulk

    return bulk.columns_of_arrow(read_arrow(database, table, slices, columns))


def rows_per_day(database: Database, table: Table, slices: Sequence[Slice]) -> Counter[DayOfSymbol]:
    """Count the rows of each (UTC day, symbol) of `slices`."""
    if "day" in table.columns:
        day: ColumnElement[Any] = table.columns["day"]
    else:
        day = _microseconds(table.columns["timestamp"], database.dialect).op("/")(MICROSECONDS_PER_DAY)
    counted = select(day, table.c.symbol, func.count()).group_by(day, table.c.symbol)
    found: Counter[DayOfSymbol] = Counter()
    with database.reading() as connection:
        for statement in united([counted.where(in_slice(database, table, part)) for part in slices]):
            for filed, symbol, count in connection.execute(statement):
                found[filed if isinstance(filed, date) else day_of_number(filed), symbol] += count
    return found


def columns_from_rows(table: Table, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> Columns:
    """Convert rows in which times are microseconds since 1970 (see `readable`) to typed columns."""
    values = list(zip(*rows, strict=True)) if rows else [()] * len(names)
    return Columns({name: array_of(table.columns[name], column) for name, column in zip(names, values, strict=True)})


def readable(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    """Select a column as it is read fastest: a time as integer microseconds, not as a datetime."""
    if not isinstance(column.type, UtcTimestamp):
        return column
    return _microseconds(column, dialect).label(column.name)


def _microseconds(column: Column[Any], dialect: str) -> ColumnElement[int]:
    if dialect == "sqlite":
        return type_coerce(column, BigInteger)
    # As a float this is exact to the microsecond up to the year 2106, and much cheaper than numeric.
    return cast(func.date_part("epoch", column) * 1_000_000, BigInteger)


def _names(table: Table, columns: Sequence[str] | None) -> list[str]:
    known = [column.name for column in table.columns]
    unknown = sorted(set(columns or ()) - set(known))
    if unknown:
        raise ValueError(f"{table.name} has no columns {unknown}; it has {known}")
    return list(columns) if columns else known


def _without_symbol(names: Sequence[str]) -> list[str]:
    """Leave out what need not be read: the symbol of a slice is known, and text is expensive to transfer."""
    return [name for name in names if name != "symbol"] or ["symbol"]


def _rows_of(
    database: Database, table: Table, part: Slice, selected: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    order = ["day", "id"] if {"day", "id"} <= {*table.columns.keys()} else [key.name for key in table.primary_key]
    return select(*selected).where(in_slice(database, table, part)).order_by(*(table.columns[name] for name in order))
