"""What is given for writing becomes `Columns` of exactly the table, or is refused.

pandas is imported only by who has a DataFrame.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Date, Integer, Table

from market_pipeline.core.columns import Columns
from market_pipeline.storage.rows.records import NOT_A_TIME, numpy_type
from market_pipeline.storage.schema.types import UtcTimestamp

if TYPE_CHECKING:
    import pandas as pd


def require_columns(table: Table, given: Sequence[str]) -> list[str]:
    """The table's columns in its order; ValueError naming what is missing or unknown in `given`."""
    names = [column.name for column in table.columns]
    if sorted(given) != sorted(names):
        twice = sorted({name for name in given if given.count(name) > 1})
        raise ValueError(
            f"rows for {table.name} must have exactly its columns; "
            f"missing: {sorted(set(names) - set(given))}, unknown: {sorted(set(given) - set(names))}, "
            f"twice: {twice}"
        )
    return names


def checked_columns(table: Table, rows: Columns | pd.DataFrame) -> Columns:
    """`rows` as columns of exactly `table`, in its order, each of its type.

    Raises ValueError naming what is missing or unknown, a column that is not of its type, a time
    without time zone, or a key without value.
    """
    columns = _columns(table, rows)
    for column in table.columns:
        if column.primary_key and any(value is None for value in columns[column.name].tolist()):
            raise ValueError(f"column {column.name} of {table.name} is part of the key and must not be empty")
    return columns


def _columns(table: Table, rows: Columns | pd.DataFrame) -> Columns:
    if isinstance(rows, Columns):
        names = require_columns(table, list(rows.arrays))
        return Columns({name: _checked(table.columns[name], rows[name]) for name in names})
    return columns_of_frame(table, rows[require_columns(table, [str(name) for name in rows.columns])])


def _checked(column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    if isinstance(column.type, UtcTimestamp):
        return times(column, array)
    if holds_numbers(column):
        return numbers(column, array)
    return _objects(column, array.tolist())


def times(column: Column[Any], array: NDArray[Any]) -> NDArray[np.datetime64]:
    """The array as datetime64[us]; ValueError if it holds no times."""
    if array.dtype.kind != "M":
        raise ValueError(f"column {column.name} must be datetime64 in UTC, not {array.dtype}")
    return array.astype("datetime64[us]", copy=False)


def holds_numbers(column: Column[Any]) -> bool:
    """Whether the values of `column` are numbers, whole or not."""
    return numpy_type(column).kind in "fi"


def numbers(column: Column[Any], array: NDArray[Any]) -> NDArray[Any]:
    """The array in the number type of `column`, None as NaN; ValueError if it holds anything else."""
    if array.dtype.kind == "O":
        for value in array:
            if value is not None and (
                isinstance(value, bool) or not isinstance(value, (int, float, np.number))
            ):
                raise ValueError(f"column {column.name} must hold numbers, not {value!r}")
    elif array.dtype.kind not in "iuf":
        raise ValueError(f"column {column.name} must hold numbers, not {array.dtype}")
    return _in_type_of(column, array.astype(np.float64, copy=False))


def series_times(column: Column[Any], series: Any) -> NDArray[np.datetime64]:
    """An aware series as datetime64[us] in UTC; ValueError if it has no time zone."""
    if getattr(series.dtype, "tz", None) is not None:
        moments: NDArray[np.datetime64] = (
            series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
        )
        return moments
    if series.isna().all():  # Nothing is known of the type of a column without values.
        return np.full(len(series), NOT_A_TIME, dtype=np.int64).view("datetime64[us]")
    raise ValueError(
        f"column {column.name} has no time zone (dtype {series.dtype}); make it aware UTC, "
        "e.g. pd.to_datetime(..., utc=True)"
    )


def series_numbers(column: Column[Any], series: Any) -> NDArray[Any]:
    """A numeric series in the number type of `column`, what is missing as NaN."""
    if series.dtype.kind in "iuf":
        return _in_type_of(column, series.to_numpy(dtype=np.float64, na_value=np.nan))
    return numbers(column, series.to_numpy(dtype=object, na_value=None))


def _in_type_of(column: Column[Any], figures: NDArray[np.float64]) -> NDArray[Any]:
    if isinstance(column.type, Integer):
        whole = np.isfinite(figures) & (figures == np.floor(figures))
        wrong = ~(whole | (np.isnan(figures) & bool(column.nullable)))
        if wrong.any():
            raise ValueError(f"column {column.name} must hold whole numbers, not {figures[wrong][0]}")
    return figures.astype(numpy_type(column), copy=False)


def _from_series(column: Column[Any], series: Any) -> NDArray[Any]:
    if isinstance(column.type, UtcTimestamp):
        return series_times(column, series)
    if holds_numbers(column):
        return series_numbers(column, series)
    return _objects(column, series.to_numpy(dtype=object, na_value=None))


def _objects(column: Column[Any], values: Iterable[Any]) -> NDArray[Any]:
    """Texts, or days, as objects; ValueError for anything else."""
    checked = list(values)
    for value in checked:
        if isinstance(column.type, Date):
            good = isinstance(value, date) and not isinstance(value, datetime)
        else:
            good = isinstance(value, str)
        if not good and value is not None:
            kind = "dates" if isinstance(column.type, Date) else "text"
            raise ValueError(f"column {column.name} must hold {kind}, not {value!r}")
    array = np.empty(len(checked), dtype=object)
    array[:] = checked
    return array


def columns_of_frame(table: Table, frame: pd.DataFrame) -> Columns:
    """A DataFrame of some columns of `table` as `Columns`, each of its type.

    Raises ValueError for a column that is not of its type or a time without time zone.
    """
    names = [str(name) for name in frame.columns]
    return Columns({name: _from_series(table.columns[name], frame[name]) for name in names})
