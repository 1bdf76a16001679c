"""A price series: the quotes of one symbol in time order. What detectors read."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class PriceSeries:
    """Quotes of one symbol: times (`datetime64[us]`, UTC) and prices (US dollars).

    Raises ValueError unless the times are known and increase strictly and the prices are finite and above zero.
    """

    symbol: str
    timestamps: NDArray[np.datetime64]
    prices: NDArray[np.float64]

    def __post_init__(self) -> None:
        if len(self.timestamps) != len(self.prices):
            raise ValueError(
                f"{self.symbol}: {len(self.timestamps)} timestamps for {len(self.prices)} prices"
            )
        if np.isnat(self.timestamps).any():
            raise ValueError(f"{self.symbol}: quote number {np.isnat(self.timestamps).argmax()} has no time")
        out_of_order = np.flatnonzero(~(self.timestamps[1:] > self.timestamps[:-1]))
        if len(out_of_order):
            first = out_of_order[0]
            raise ValueError(
                f"{self.symbol}: times must increase strictly, but {self.timestamps[first]} is followed "
                f"by {self.timestamps[first + 1]}; sort the quotes and drop duplicates"
            )
        unusable = np.flatnonzero(~(np.isfinite(self.prices) & (self.prices > 0)))
        if len(unusable):
            raise ValueError(
                f"{self.symbol}: price {self.prices[unusable[0]]} at {self.timestamps[unusable[0]]} "
                "is not a finite number above zero"
            )

    def __len__(self) -> int:
        return len(self.prices)


def to_datetime64(moment: datetime) -> np.datetime64:
    """An aware `moment` as the UTC `datetime64[us]` of the series."""
    return np.datetime64(moment.astimezone(timezone.utc).replace(tzinfo=None), "us")


def to_datetime(moment: np.datetime64) -> datetime:
    """A UTC `datetime64[us]` as an aware datetime."""
    naive: datetime = moment.astype("datetime64[us]").astype(object)
    return naive.replace(tzinfo=timezone.utc)


def rows_by_symbol(symbols: NDArray[Any]) -> dict[str, NDArray[np.intp]]:
    """The row numbers of each symbol, in the order of the rows; symbols by their first row."""
    borders = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    ends = [*borders.tolist(), len(symbols)] if len(symbols) else []
    pieces: dict[str, list[NDArray[np.intp]]] = {}
    for start, end in zip([0, *ends], ends):
        pieces.setdefault(str(symbols[start]), []).append(np.arange(start, end))
    return {symbol: np.concatenate(rows) for symbol, rows in pieces.items()}
