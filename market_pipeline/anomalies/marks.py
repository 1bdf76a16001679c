"""What people say of anomalies: the marks, the precision that follows from them, and the quotes that they condemn.

A mark `noise` of a feed problem, or of a move that was a misprint, keeps its quotes out of the calibrations made later.
Which quotes those are follows from the prices around the anomaly as it was marked, not from its present row: that may
have changed or gone when its day was scored again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.columns import Columns, to_datetime64

LONGEST_NOTE = 300
# One line. Without the controls of C0 and C1 (NUL, which PostgreSQL refuses, tabs and line breaks among them), line and
# paragraph separators, and those that turn the direction of other text around.
NOTE_PATTERN = r"^[^\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]*$"

# A misprint that detectors did not recognise ends with a leap back within this time; after it a price is a new level.
_MISPRINT = timedelta(hours=4)
# Days are scored one by one, so no bad tick lasts longer.
_BAD_TICK = timedelta(days=1)
_STALE = timedelta(days=1)
_MISPRINTS = {Kind.BAD_TICK: _BAD_TICK, **dict.fromkeys((Kind.JUMP, Kind.USER_THRESHOLD, Kind.GAP_MOVE), _MISPRINT)}
# A leap back undoes so much of the move at once; a price that drifts back was real.
_LEAP_BACK = 0.7
# The longest time from a flagged quote to the last one that its mark condemns.
LONGEST_NOISE = timedelta(days=1)


class Mark(str, Enum):
    """What a person says of an anomaly: it was real, it was noise, or it was known beforehand."""

    REAL = "real"
    NOISE = "noise"
    EXPECTED = "expected"


@dataclass(frozen=True)
class MarkedNoise:
    """An anomaly marked as noise, as it was then; times are aware UTC, prices US dollars."""

    symbol: str
    kind: str
    timestamp: datetime
    timestamp_before: datetime
    price_before: float
    price_after: float


@dataclass(frozen=True)
class MarkCounts:
    """How many anomalies of a kind have each mark."""

    kind: str
    real: int = 0
    noise: int = 0
    expected: int = 0

    @property
    def precision(self) -> float | None:
        """The share of real ones among those that are real or noise; None if there are none."""
        judged = self.real + self.noise
        return self.real / judged if judged else None


def parse_note(text: str) -> str | None:
    """Return a note without white space around it, None if nothing is left; ValueError if it may not be stored."""
    # Half a surrogate pair is no text, and no database stores it.
    if len(text) > LONGEST_NOTE or not re.fullmatch(NOTE_PATTERN, text) or re.search("[\ud800-\udfff]", text):
        raise ValueError(f"write one line of at most {LONGEST_NOTE} characters, without control characters")
    return text.strip() or None


def noise_mask(prices: Columns, marks: Iterable[MarkedNoise]) -> NDArray[np.bool_]:
    """Return which of `prices` (symbol, timestamp, price; by time within each symbol) the marks condemn.

    Of a bad tick, and of a jump, user_threshold or gap_move whose price leapt back: the quotes from the print up to
    before its reversal. Of a stale feed: the repetitions of its price. Other kinds condemn none: a real move that was
    not worth an alarm belongs to what is usual.
    """
    mask = np.zeros(len(prices), dtype=np.bool_)
    parts = _parts(prices["symbol"])
    for mark in marks:
        if (part := parts.get(mark.symbol)) is None:
            continue
        times, values = prices["timestamp"][part], prices["price"][part]
        if mark.kind in _MISPRINTS:
            start, end = _misprint(times, values, mark, _MISPRINTS[Kind(mark.kind)])
        elif mark.kind == Kind.STALE_FEED:
            start, end = _repetitions(times, values, mark)
        else:
            continue
        mask[part.start + start : part.start + end] = True
    return mask


def _parts(symbols: NDArray[np.object_]) -> dict[str, slice]:
    """Return where the rows of each symbol are."""
    borders = [0, *(np.flatnonzero(symbols[1:] != symbols[:-1]) + 1).tolist(), len(symbols)]
    return {symbols[first]: slice(first, end) for first, end in pairwise(borders) if first < end}


def _misprint(
    times: NDArray[np.datetime64], prices: NDArray[np.float64], mark: MarkedNoise, longest: timedelta
) -> tuple[int, int]:
    """Return the range of quotes from the print on that are nearer to it than to the price before, if they end."""
    start, end = np.searchsorted(times, [to_datetime64(mark.timestamp), to_datetime64(mark.timestamp + longest)])
    move = math.log(mark.price_after / mark.price_before)
    if start == len(times) or times[start] != to_datetime64(mark.timestamp) or move == 0:
        return 0, 0
    undone = 1 - np.log(prices[start : end + 1] / mark.price_before) / move
    back = np.flatnonzero(undone > 0.5)
    if not len(back) or (mark.kind != Kind.BAD_TICK and undone[back[0]] < _LEAP_BACK):
        return 0, 0
    return int(start), int(start + back[0])


def _repetitions(
    times: NDArray[np.datetime64], prices: NDArray[np.float64], mark: MarkedNoise
) -> tuple[int, int]:
    """Return the range of quotes after the price before that repeat it."""
    start = int(np.searchsorted(times, to_datetime64(mark.timestamp_before), side="right"))
    end = int(np.searchsorted(times, to_datetime64(mark.timestamp + _STALE)))
    changed = np.flatnonzero(prices[start:end] != mark.price_before)
    return start, start + int(changed[0]) if len(changed) else end
