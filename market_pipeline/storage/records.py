"""Rows of plain Python into `Columns`, typed by the table they are meant for."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from datetime import date, datetime, timezone
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Double, Table

from market_pipeline.storage.columns import Columns
from market_pipeline.storage.types import UtcTimestamp, to_microseconds

NOT_A_TIME = np.iinfo(np.int64).min


def numpy_type(column: "Column[Any]") -> np.dtype[Any]:
    """The array type that holds a column: times as datetime64[us], numbers as float64, else objects."""
    if isinstance(column.type, UtcTimestamp):
        return np.dtype("datetime64[us]")
    return np.dtype(np.float64 if isinstance(column.type, Double) else object)


def empty_columns(table: Table, names: Iterable[str]) -> Columns:
    """No rows, but every column with its type."""
    return Columns({name: np.empty(0, dtype=numpy_type(table.columns[name])) for name in names})


def columns_of(table: Table, records: Iterable[object]) -> Columns:
    """Dataclass instances or mappings as columns of `table`, in the table's order.

    Datetimes must be aware; enum members become their values; None becomes NaT, NaN or None.
    Raises ValueError naming a column that a record lacks or that the table does not have.
    """
    rows = [_as_mapping(record) for record in records]
    names = [column.name for column in table.columns]
    for row in rows:
        if row.keys() != set(names):
            raise ValueError(
                f"a row for {table.name} must have exactly its columns; missing: "
                f"{sorted(set(names) - row.keys())}, unknown: {sorted(row.keys() - set(names))}"
            )
    return Columns({name: _array(table.columns[name], [row[name] for row in rows]) for name in names})


def _as_mapping(record: object) -> Mapping[str, Any]:
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, Mapping):
        return record
    raise ValueError(f"a row is a dataclass or a mapping, not {type(record).__name__}")


def _array(column: "Column[Any]", values: list[Any]) -> NDArray[Any]:
    kind = numpy_type(column)
    if kind.kind == "M":
        return np.array([NOT_A_TIME if value is None else to_microseconds(value) for value in values], dtype="int64").view(kind)
    if kind.kind == "f":
        return np.array([np.nan if value is None else value for value in values], dtype=kind)
    array = np.empty(len(values), dtype=object)
    array[:] = [value.value if isinstance(value, Enum) else value for value in values]
    return array


def rows_of(table: Table, columns: Columns) -> list[dict[str, Any]]:
    """The rows as SQLAlchemy takes them: aware datetimes, None for what is not there."""
    values = {name: _plain(table.columns[name], array) for name, array in columns.arrays.items()}
    return [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]


def _plain(column: "Column[Any]", array: NDArray[Any]) -> list[Any]:
    if array.dtype.kind == "M":
        return [None if moment is None else _aware(moment) for moment in array.astype("datetime64[us]").tolist()]
    if array.dtype.kind == "f" and column.nullable:
        return [None if value != value else value for value in array.tolist()]
    return list(array.tolist())


def _aware(moment: date) -> datetime:
    if not isinstance(moment, datetime):
        raise ValueError(f"{moment} lies outside the years that can be stored")
    return moment.replace(tzinfo=timezone.utc)
