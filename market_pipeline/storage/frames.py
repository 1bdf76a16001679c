"""DataFrames at the border: into `Columns` for writing. pandas is imported only by who has a frame."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, Double, Table

from market_pipeline.storage.columns import Columns
from market_pipeline.storage.types import UtcTimestamp

if TYPE_CHECKING:
    import pandas as pd


def checked_columns(table: Table, rows: Columns | pd.DataFrame) -> Columns:
    """`rows` as columns of exactly `table`, in its order.

    Raises ValueError naming what is missing or unknown, or a time without time zone.
    """
    given = list(rows.arrays) if isinstance(rows, Columns) else [str(name) for name in rows.columns]
    names = [column.name for column in table.columns]
    if set(given) != set(names) or len(given) != len(names):
        raise ValueError(
            f"rows for {table.name} must have exactly its columns; missing: {sorted(set(names) - set(given))}, "
            f"unknown: {sorted(set(given) - set(names))}"
        )
    if isinstance(rows, Columns):
        return Columns({name: rows[name] for name in names})
    return Columns({name: _array(table.columns[name], rows[name]) for name in names})


def _array(column: Column[Any], series: pd.Series[Any]) -> NDArray[Any]:
    if isinstance(column.type, UtcTimestamp):
        if getattr(series.dtype, "tz", None) is None:
            raise ValueError(
                f"column {column.name} has no time zone (dtype {series.dtype}); make it aware UTC, "
                "e.g. pd.to_datetime(..., utc=True)"
            )
        return series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy(dtype="datetime64[us]")
    if isinstance(column.type, Double):
        return series.to_numpy(dtype=np.float64, na_value=np.nan)
    return series.to_numpy(dtype=object, na_value=None)
