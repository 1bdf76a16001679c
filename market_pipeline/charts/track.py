"""The track of one symbol: what a panel draws of its quotes, broken where there are none."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from market_pipeline.core.columns import Columns, to_datetime64

Floats = NDArray[np.float64]
Span = tuple[float, float]

# A silence is longer than this many usual intervals: one or two late or missing quotes are none.
_SILENT_INTERVALS = 3.1
_NEIGHBOURS = 9
# Of a lone quote the usual interval is not known; history has one quote an hour.
_USUAL_OF_ONE = 1 / 24


@dataclass(frozen=True, eq=False)
class Track:
    """Quotes of one symbol in time order.

    `days` are days since 1970, UTC, as Matplotlib counts dates, and so are the pairs in `silences`. `prices` and
    `price_before` are US dollars; `expected_move` is one standard deviation of the return from `price_before` to the
    quote; `volatility` is annual. Quotes of the same number in `stretch` belong to one unbroken line.
    """

    symbol: str
    days: Floats
    prices: Floats
    price_before: Floats
    expected_move: Floats
    volatility: Floats
    stretch: NDArray[np.intp]
    silences: tuple[Span, ...]

    def __len__(self) -> int:
        return len(self.days)

    def band(self, sigmas: float) -> tuple[Floats, Floats]:
        """Return the lower and upper edge of the expected band at each quote, US dollars; NaN where unknown.

        Also NaN at the first quote after a silence: its band is as wide as the silence is long, around an old price,
        and would be drawn as a meaningless spike.
        """
        width = sigmas * self.expected_move
        width = np.where(np.diff(self.stretch, prepend=0) > 0, np.nan, width)
        return self.price_before * (1 - width), self.price_before * (1 + width)

    def line_at(self, days: Floats) -> Floats:
        """Return the price of the line at each of `days`, US dollars."""
        return np.interp(days, self.days, self.prices)

    def broken(self, values: Floats) -> Floats:
        """Return `values` of the quotes with a NaN between stretches, so that no line crosses a silence."""
        return np.insert(values, np.flatnonzero(np.diff(self.stretch)) + 1, np.nan)

    def thinned(self, most: int) -> Track:
        """Return at most about `most` quotes: lowest and highest of each time slice, and the ends of stretches."""
        if len(self) <= most:
            return self
        first, last = self.days[0], self.days[-1]
        bucket = ((self.days - first) / (last - first) * (most // 2 - 1)).astype(np.intp)
        order = np.lexsort((self.prices, bucket))
        edge = np.flatnonzero(np.diff(bucket[order]))
        ends = np.flatnonzero(np.diff(self.stretch))
        chosen = np.unique(np.concatenate([order[np.append(edge, -1)], order[np.append(0, edge + 1)], ends, ends + 1]))
        names = ("days", "prices", "price_before", "expected_move", "volatility", "stretch")
        return replace(self, **{name: getattr(self, name)[chosen] for name in names})


def track_of(scores: Columns, symbol: str, start: datetime, end: datetime) -> Track:
    """Return the track of `symbol` in `scores` (of `chart_rows.scored_span`) from `start` to `end` (aware).

    Rows may be candles with `first_at` and `quotes`, at the time of their last quote: a silence ends with the first
    quote of a candle, and many quotes in a candle have a shorter interval than candles. A silence is judged at the
    interval of the rows: among candles of six hours, those of a year, it is longer than 18 hours, which are two pixels
    there. Finer candles, of a shorter time, have the shorter ones. Rows before `start` are kept;
    they tell whether the time begins in a silence.
    """
    rows = scores.where(scores["symbol"] == symbol)
    days = days_of(rows["timestamp"])
    first, last = span_of(start, end)
    intervals = np.diff(days)
    silent = np.flatnonzero(intervals > _SILENT_INTERVALS * _usual(intervals))
    begun = days_of(rows["first_at"]) if "first_at" in rows.arrays else days
    silences = [(float(days[index]), float(begun[index + 1])) for index in silent]
    if len(days):
        between = intervals / rows["quotes"][1:] if "quotes" in rows.arrays else intervals
        at_start, at_end = intervals[:_NEIGHBOURS], between[-_NEIGHBOURS:]
        if begun[0] - first > _SILENT_INTERVALS * (np.median(at_start) if len(intervals) else _USUAL_OF_ONE):
            silences.append((first, float(begun[0])))
        if last - days[-1] > _SILENT_INTERVALS * (np.median(at_end) if len(intervals) else _USUAL_OF_ONE):
            silences.append((float(days[-1]), last))
    else:
        silences = [(first, last)]
    inside = [(max(begin, first), min(stop, last)) for begin, stop in silences]
    stretch = np.zeros(len(days), dtype=np.intp)
    stretch[silent + 1] = 1
    return Track(
        symbol=symbol,
        days=days,
        prices=rows["price"],
        price_before=rows["price_before"],
        expected_move=rows["expected_move"],
        volatility=rows["volatility"],
        stretch=np.cumsum(stretch),
        silences=tuple(sorted(silence for silence in inside if silence[0] < silence[1])),
    )


def days_of(times: NDArray[np.datetime64]) -> Floats:
    """Return `times` as days since 1970, UTC."""
    days: Floats = (times - np.datetime64(0, "us")) / np.timedelta64(1, "D")
    return days


def span_of(start: datetime, end: datetime) -> Span:
    """Return two aware times as days since 1970, UTC."""
    first, last = days_of(np.array([to_datetime64(start), to_datetime64(end)])).tolist()
    return first, last


def _usual(intervals: Floats) -> Floats:
    """Return the usual interval around each: the median of those before it or of those after it, the larger one.

    Both sides count, because hourly history and live quotes may meet in one series, and the slower side's usual
    interval is no silence.
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
