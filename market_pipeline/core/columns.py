"""`Columns`: a small table as named NumPy arrays, in place of a DataFrame.

Importing pandas costs more processor time than the whole of a tick's own work (see docs/decisions), so
the scheduled path never does. `from_frame` and `to_frame` convert where DataFrames come in and go out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Columns:
    """Columns of equal length, by name.

    Timestamps are `datetime64[us]` and always UTC (NumPy has no time zones); text is `object`.
    """

    arrays: Mapping[str, NDArray[Any]]

    def __post_init__(self) -> None:
        lengths = {name: len(array) for name, array in self.arrays.items()}
        if len(set(lengths.values())) > 1:
            raise ValueError(f"columns differ in length: {', '.join(f'{n} {size}' for n, size in lengths.items())}")

    def __len__(self) -> int:
        return next((len(array) for array in self.arrays.values()), 0)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def where(self, mask: NDArray[np.bool_]) -> Columns:
        """Return the rows at which `mask` is true."""
        return Columns({name: array[mask] for name, array in self.arrays.items()})

    def take(self, rows: NDArray[np.intp]) -> Columns:
        """Return the rows with these numbers, in their order."""
        return Columns({name: array[rows] for name, array in self.arrays.items()})

    def between(self, start: datetime, end: datetime) -> Columns:
        """Return the rows whose `timestamp` is from `start` up to but not including `end` (aware)."""
        times = self.arrays["timestamp"]
        return self.where((times >= to_datetime64(start)) & (times < to_datetime64(end)))

    def datetimes(self, name: str) -> list[datetime]:
        """Return a timestamp column without missing values as aware UTC datetimes."""
        moments: list[datetime] = self.arrays[name].astype("datetime64[us]").tolist()
        return [moment.replace(tzinfo=timezone.utc) for moment in moments]

    @classmethod
    def from_frame(cls, frame: pd.DataFrame) -> Columns:
        """Convert a DataFrame: times to UTC, numbers to NumPy's types, the rest to objects with None if missing.

        Raises ValueError for times without time zone and for a name given twice.
        """
        names = [str(name) for name in frame.columns]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"columns given twice: {', '.join(twice)}")
        return cls({name: _array_of(name, series) for name, (_, series) in zip(names, frame.items(), strict=True)})

    def to_frame(self) -> pd.DataFrame:
        """Convert to a DataFrame with aware UTC timestamps."""
        import pandas as pd

        frame = pd.DataFrame(dict(self.arrays))
        for name, array in self.arrays.items():
            if array.dtype.kind == "M":
                frame[name] = frame[name].dt.tz_localize("UTC")
        return frame


def to_datetime64(moment: datetime) -> np.datetime64:
    """Return an aware time as the UTC `datetime64[us]` of a timestamp column."""
    import numpy as np

    return np.datetime64(moment.astimezone(timezone.utc).replace(tzinfo=None), "us")


def _array_of(name: str, series: Any) -> NDArray[Any]:
    kind = series.dtype.kind
    if kind == "M":
        if series.dt.tz is None:
            raise ValueError(
                f"column {name} has no time zone (dtype {series.dtype}); make it aware UTC, "
                "e.g. pd.to_datetime(..., utc=True)"
            )
        array: NDArray[Any] = series.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy("datetime64[us]")
    elif kind in "iuf":
        array = series.to_numpy(dtype=float, na_value=float("nan"))
    else:
        array = series.to_numpy(dtype=object, na_value=None)
    return array
