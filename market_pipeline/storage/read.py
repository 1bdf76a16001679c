"""Reading the rows of slices. Every read is bounded, so its cost follows what is asked, not what is stored.

`read_columns` goes through the ordinary driver and imports nothing heavy; `read_frame` goes through
ADBC and Arrow for whoever works with DataFrames.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import date
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import BigInteger, Column, ColumnElement, Select, Table, cast, extract, select, type_coerce

from market_pipeline.slices import Slice
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.records import NOT_A_TIME, empty_columns, numpy_type
from market_pipeline.storage.types import UtcTimestamp, from_microseconds
from market_pipeline.storage.where import in_slice

if TYPE_CHECKING:
    import pandas as pd


def read_columns(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> Columns:
    """The rows of `slices`, ordered by slice and within it by the table's key; typed when empty."""
    names = list(columns) if columns else [column.name for column in table.columns]
    if not slices:
        return empty_columns(table, names)
    chosen = [_fast(table.columns[name], database.dialect).label(name) for name in names]
    with database.reading() as connection:
        rows = [
            tuple(row)
            for part in slices
            for row in connection.execute(select(*chosen).where(in_slice(table, part)).order_by(*_order(table)))
        ]
    return columns_from_rows(table, names, rows)


def columns_from_rows(table: Table, names: Sequence[str], rows: Sequence[tuple[Any, ...]]) -> Columns:
    """Rows in which times are microseconds since 1970 as typed columns."""
    if not rows:
        return empty_columns(table, names)
    return Columns({name: _array(table.columns[name], values) for name, values in zip(names, zip(*rows), strict=True)})


def _array(column: Column[Any], values: tuple[Any, ...]) -> NDArray[Any]:
    kind = numpy_type(column)
    if kind.kind == "M":
        return np.array([NOT_A_TIME if value is None else value for value in values], dtype=np.int64).view(kind)
    if kind.kind == "f":
        return np.array(values, dtype=kind)  # None becomes NaN.
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def microseconds(column: ColumnElement[Any], dialect: str) -> ColumnElement[int]:
    """A time column as integer microseconds: a hundredth of the cost of a datetime per row."""
    if dialect == "sqlite":
        return type_coerce(column, BigInteger)
    return cast(extract("epoch", column) * 1_000_000, BigInteger)


def _fast(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    return microseconds(column, dialect) if isinstance(column.type, UtcTimestamp) else column


def _order(table: Table) -> list[Column[Any]]:
    names = ["day", "id"] if "day" in table.columns else [key.name for key in table.primary_key]
    return [table.columns[name] for name in names]


def read_frame(
    database: Database, table: Table, slices: Sequence[Slice], columns: Sequence[str] | None = None
) -> pd.DataFrame:
    """The same rows as a DataFrame: times are aware UTC, dtypes do not depend on database or row count."""
    from market_pipeline.storage import bulk

    names = list(columns) if columns else [column.name for column in table.columns]
    if not slices:
        return bulk.typed_frame(table, names, [])
    statements: list[Select[Any]] = [
        select(*(bulk.readable(table.columns[name], database.dialect) for name in names))
        .where(in_slice(table, part))
        .order_by(*_order(table))
        for part in slices
    ]
    return bulk.typed_frame(table, names, bulk.fetch(database, statements))


def rows_per_day(database: Database, table: Table, slices: Sequence[Slice]) -> Counter[tuple[date, str]]:
    """How many rows each (UTC day, symbol) of `slices` holds."""
    place = "day" if "day" in table.columns else "timestamp"
    found = read_columns(database, table, slices, ["symbol", place])
    if place == "day":
        return Counter(zip(found["day"].tolist(), found["symbol"].tolist()))
    times = found["timestamp"].view(np.int64).tolist()
    return Counter((from_microseconds(time).date(), symbol) for time, symbol in zip(times, found["symbol"].tolist()))
