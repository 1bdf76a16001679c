"""Convert Python values to the typed `Columns` of a table, and columns to parameters of the drivers."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import datetime, timezone
from enum import Enum
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Date, Double, Integer, Table

from market_pipeline.core.clock import to_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.storage.schema.types import UtcTimestamp

NOT_A_TIME = np.iinfo(np.int64).min


def numpy_type(column: "Column[Any]") -> np.dtype[Any]:
    """Return the array type of a column: datetime64[us] for times, float64 for numbers, else object.

    Whole numbers are int64, but float64 where some may be missing: integers have no NaN.
    """
    if isinstance(column.type, UtcTimestamp):
        return np.dtype("datetime64[us]")
    if isinstance(column.type, Integer) and not column.nullable:
        return np.dtype(np.int64)
    return np.dtype(np.float64 if isinstance(column.type, (Double, Integer)) else object)


def array_of(column: "Column[Any]", values: Sequence[Any]) -> NDArray[Any]:
    """Convert values, times as microseconds since 1970, to the array type of `column`; None is NaT, NaN or None."""
    kind = numpy_type(column)
    if kind.kind == "M":
        if column.nullable:
            values = [NOT_A_TIME if value is None else value for value in values]
        return np.array(values, dtype=np.int64).view(kind)
    if kind.kind in "fi":
        return np.array(values, dtype=kind)
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def columns_of(table: Table, records: Iterable[object]) -> Columns:
    """Convert dataclass instances or mappings to columns of `table`, in the table's order.

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
    return Columns({name: array_of(table.columns[name], [_plain(row[name]) for row in rows]) for name in names})


def parameters_of(table: Table, columns: Columns, dialect: str) -> list[list[Any]]:
    """Return the values of each column of `table` as the driver of `dialect` takes them, None if missing."""
    return [_parameters(column, columns[column.name], dialect) for column in table.columns]


def _as_mapping(record: object) -> Mapping[str, Any]:
    if is_dataclass(record) and not isinstance(record, type):
        return {field.name: getattr(record, field.name) for field in fields(record)}
    if isinstance(record, Mapping):
        return record
    raise ValueError(f"a row is a dataclass or a mapping, not {type(record).__name__}")


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return to_microseconds(value)
    return value.value if isinstance(value, Enum) else value


def _parameters(column: "Column[Any]", array: NDArray[Any], dialect: str) -> list[Any]:
    values: list[Any] = array.tolist()
    if array.dtype.kind == "M":
        if dialect == "sqlite":
            return [None if value == NOT_A_TIME else value for value in array.view(np.int64).tolist()]
        return [None if moment is None else _aware(moment) for moment in values]
    if array.dtype.kind == "f" and column.nullable:
        return [None if value != value else value for value in values]
    if isinstance(column.type, Date) and dialect == "sqlite":
        return [None if day is None else day.isoformat() for day in values]
    return values


def _aware(moment: object) -> datetime:
    # NumPy gives a plain integer for a time that no datetime can hold.
    if not isinstance(moment, datetime):
        raise ValueError(f"{moment} microseconds since 1970 lie outside the years 1 to 9999")
    return moment.replace(tzinfo=timezone.utc)
