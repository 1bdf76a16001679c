"""`Columns`: a small table as named NumPy arrays.

It is what the scheduled path uses in place of a DataFrame: importing pandas costs more processor
time than the whole of a tick's own work (see docs/decisions). `to_frame` gives a DataFrame to whoever
wants one.
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
        if len({len(array) for array in self.arrays.values()}) > 1:
            raise ValueError(
                "columns differ in length: "
                + ", ".join(f"{name} {len(array)}" for name, array in self.arrays.items())
            )

    def __len__(self) -> int:
        return next((len(array) for array in self.arrays.values()), 0)

    def __getitem__(self, name: str) -> NDArray[Any]:
        return self.arrays[name]

    def where(self, mask: NDArray[np.bool_]) -> Columns:
        """The rows at which `mask` is true."""
        return Columns({name: array[mask] for name, array in self.arrays.items()})

    def take(self, rows: NDArray[np.intp]) -> Columns:
        """The rows of these numbers, in their order."""
        return Columns({name: array[rows] for name, array in self.arrays.items()})

    def between(self, start: datetime, end: datetime) -> Columns:
        """Return the rows whose `timestamp` is from `start` up to but not including `end` (aware)."""
        times = self.arrays["timestamp"]
        return self.where((times >= to_datetime64(start)) & (times < to_datetime64(end)))

    def datetimes(self, name: str) -> list[datetime]:
        """A timestamp column without gaps as aware UTC datetimes."""
        moments: list[datetime] = self.arrays[name].astype("datetime64[us]").tolist()
        return [moment.replace(tzinfo=timezone.utc) for moment in moments]

    def to_frame(self) -> pd.DataFrame:
        """The same rows as a DataFrame with aware UTC timestamps."""
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
