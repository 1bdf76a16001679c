"""The track of one symbol: what a panel draws of its quotes, broken where the data is silent."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from market_pipeline.core.columns import Columns, to_datetime64

Floats = NDArray[np.float64]

# Longer than so many usual intervals is a silence: one or two missing quotes, a little late, are none.
_SILENT_INTERVALS = 3.1
_NEIGHBOURS = 9


@dataclass(frozen=True, eq=False)
class Track:
    """Quotes of one symbol in time order.

    `hours` are hours since 1970, UTC, and so are the pairs in `silences`. `prices` and `price_before`
    are US dollars; `expected_move` is one standard deviation of the return from `price_before` to the
    quote; `volatility` is a year's. Quotes of the same number in `stretch` belong to one unbroken line.
    """

    symbol: str
    hours: Floats
    prices: Floats
    price_before: Floats
    expected_move: Floats
    volatility: Floats
    stretch: NDArray[np.intp]
    silences: tuple[tuple[float, float], ...]

    def __len__(self) -> int:
        return len(self.hours)

    def band(self, sigmas: float) -> tuple[Floats, Floats]:
        """Lower and upper edge of the expected band at each quote, US dollars; NaN where not known.

        Nor at the first quote after a silence: its band is that of the silence, as wide and around an
        old price, and drawn together with its neighbour's it would be a spike that means nothing.
        """
        width = sigmas * self.expected_move
        width = np.where(np.diff(self.stretch, prepend=0) > 0, np.nan, width)
        return self.price_before * (1 - width), self.price_before * (1 + width)

    def broken(self, values: Floats) -> Floats:
        """`values` of the quotes with a NaN between stretches, so that no line crosses a silence."""
        ends = np.flatnonzero(np.diff(self.stretch)) + 1
        return np.insert(values, ends, np.nan)

    def thinned(self, most: int) -> Track:
        """At most about `most` quotes: of each bit of time the lowest and the highest.

        The ends of the stretches stay, so that silences look as they are.
        """
        if len(self) <= most:
            return self
        first, last = self.hours[0], self.hours[-1]
        bucket = ((self.hours - first) / (last - first) * (most // 2 - 1)).astype(np.intp)
        order = np.lexsort((self.prices, bucket))
        edge = np.flatnonzero(np.diff(bucket[order]))
        ends = np.flatnonzero(np.diff(self.stretch))
        kept = np.unique(
            np.concatenate([order[np.append(edge, -1)], order[np.append(0, edge + 1)], ends, ends + 1])
        )
        names = ("hours", "prices", "price_before", "expected_move", "volatility", "stretch")
        return replace(self, **{name: getattr(self, name)[kept] for name in names})


def track_of(scores: Columns, symbol: str, start: datetime, end: datetime) -> Track:
    """The track of `symbol` in `scores` (see `scores.scored_span`) from `start` to `end` (aware)."""
    rows = scores.where(scores["symbol"] == symbol)
    hours = hours_of(rows["timestamp"])
    first, last = hours_of(np.array([to_datetime64(start), to_datetime64(end)]))
    intervals = np.diff(hours)
    silent = np.flatnonzero(intervals > _SILENT_INTERVALS * _usual(intervals))
    silences = [(float(hours[index]), float(hours[index + 1])) for index in silent]
    if not len(hours):
        silences = [(float(first), float(last))]
    if len(intervals):
        patience = _SILENT_INTERVALS * np.median(intervals[:_NEIGHBOURS])
        silences += [(first, hours[0])] if hours[0] - first > patience else []
        patience = _SILENT_INTERVALS * np.median(intervals[-_NEIGHBOURS:])
        silences += [(hours[-1], last)] if last - hours[-1] > patience else []
    stretch = np.zeros(len(hours), dtype=np.intp)
    stretch[silent + 1] = 1
    return Track(
        symbol=symbol,
        hours=hours,
        prices=rows["price"],
        price_before=rows["price_before"],
        expected_move=rows["expected_move"],
        volatility=rows["volatility"],
        stretch=np.cumsum(stretch),
        silences=tuple(sorted(silences)),
    )


def hours_of(times: NDArray[np.datetime64]) -> Floats:
    """`times` as hours since 1970, so that a multiple of 24 is midnight UTC."""
    hours: Floats = (times - np.datetime64(0, "us")) / np.timedelta64(1, "h")
    return hours


def _usual(intervals: Floats) -> Floats:
    """The usual interval around each: the median of those before it or of those after it, the larger one.

    Of both, because hourly history and live quotes may meet in one series, and what is usual on the
    slower side is no silence.
    """
    usual = np.full(len(intervals), np.nan)
    if len(intervals) < 2:
        return usual
    padding = np.full(_NEIGHBOURS - 1, np.nan)
    ending = np.lib.stride_tricks.sliding_window_view(np.concatenate([padding, intervals]), _NEIGHBOURS)
    starting = np.lib.stride_tricks.sliding_window_view(np.concatenate([intervals, padding]), _NEIGHBOURS)
    usual[1:] = np.nanmedian(ending, axis=1)[:-1]
    usual[:-1] = np.fmax(usual[:-1], np.nanmedian(starting, axis=1)[1:])
    return usual
