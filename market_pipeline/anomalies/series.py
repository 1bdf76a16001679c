"""A price series, which the scores read: the validated quotes of one symbol in time order. And its cadence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS

Floats = NDArray[np.float64]

# Classes of intervals, shortest first. Scores of different classes have different tails.
CADENCES = FIVE_MINUTE, HOURLY, DAILY = "5-minute", "hourly", "daily"


@dataclass(frozen=True, eq=False)
class PriceSeries:
    """Quotes of one symbol: times (`datetime64[us]`, UTC) and prices (US dollars).

    Raises ValueError unless the times are known and increase strictly and the prices are finite and above zero.
    """

    symbol: str
    timestamps: NDArray[np.datetime64]
    prices: Floats

    def __post_init__(self) -> None:
        times, prices = self.timestamps, self.prices
        if len(times) != len(prices):
            raise ValueError(f"{self.symbol}: {len(times)} timestamps for {len(prices)} prices")
        if np.isnat(times).any():
            raise ValueError(f"{self.symbol}: quote number {np.isnat(times).argmax()} has no time")
        unordered = np.flatnonzero(~(times[1:] > times[:-1]))
        if len(unordered):
            raise ValueError(
                f"{self.symbol}: times must increase strictly, but {times[unordered[0]]} is followed by "
                f"{times[unordered[0] + 1]}; sort the quotes and drop duplicates"
            )
        unusable = np.flatnonzero(~(np.isfinite(prices) & (prices > 0)))
        if len(unusable):
            raise ValueError(
                f"{self.symbol}: price {prices[unusable[0]]} at {times[unusable[0]]} is not a finite number above zero"
            )

    def __len__(self) -> int:
        return len(self.prices)


def rows_by_symbol(symbols: NDArray[Any]) -> dict[str, NDArray[np.intp]]:
    """Return the row numbers of each symbol in the order of the rows; symbols by their first row."""
    borders = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    ends = [*borders.tolist(), len(symbols)] if len(symbols) else []
    pieces: dict[str, list[NDArray[np.intp]]] = {}
    for start, end in zip([0, *ends], ends, strict=False):
        pieces.setdefault(str(symbols[start]), []).append(np.arange(start, end))
    return {symbol: np.concatenate(rows) for symbol, rows in pieces.items()}


def cadence_of(minutes: float) -> str:
    """Return the class of an interval of this many minutes, of `CADENCES`."""
    return CADENCES[int(cadence_codes(np.array([minutes]))[0])]


def cadence_codes(minutes: Floats) -> NDArray[np.int8]:
    """Return the class of each interval as an index into `CADENCES`."""
    codes: NDArray[np.int8] = (minutes > PARAMETERS.long_interval).astype(np.int8)
    codes += minutes > PARAMETERS.daily_interval
    return codes
