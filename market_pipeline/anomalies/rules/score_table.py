"""The score table: scored quotes grouped by symbol and in time order, as the rules of detection read them.

A position is a row of this table. Quotes of one symbol have neighbouring positions.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import LARGEST_LOG_RETURN, LARGEST_RETURN
from market_pipeline.anomalies.series import Floats
from market_pipeline.core.clock import from_microseconds
from market_pipeline.core.columns import Columns

Positions = NDArray[np.int64]

MICROSECONDS = 1_000_000
MINUTE = 60 * MICROSECONDS
# The usual interval is the median of so many, of at least so many.
_GAPS = 48
_FEWEST_GAPS = 3
# Quotes this many usual intervals apart are neighbours: hourly ones lie up to 75 minutes apart.
_NEIGHBOURS = 1.5
# A coin without a quote for longer (minutes, or a neighbour's distance) is not quoted at present.
_LIVE = 15.0


@dataclass(frozen=True, eq=False)
class ScoreTable:
    """Scores with `before` and `large_move_before` as positions.

    `symbols[n]` has the positions `starts[n]` to `starts[n + 1]`. `moments` are microseconds since 1970.
    """

    scores: Columns
    symbols: tuple[str, ...]
    starts: Positions
    moments: Positions
    # Derived values that several rules need, by what they were derived from.
    cache: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.moments)

    def __getitem__(self, name: str) -> Floats:
        return self.scores[name]

    @cached_property
    def _keys(self) -> tuple[Positions, int, int]:
        """One increasing number per quote over all symbols, to find quotes by symbol and time."""
        origin = int(self.moments.min()) if len(self) else 0
        width = int(self.moments.max()) - origin + 1 if len(self) else 1
        codes = np.repeat(np.arange(len(self.symbols)), np.diff(self.starts))
        return codes * width + (self.moments - origin), origin, width

    def code(self, position: int) -> int:
        """Return the number of the symbol at `position`."""
        return bisect_right(self._starts, position) - 1

    @cached_property
    def _starts(self) -> list[int]:
        starts: list[int] = self.starts.tolist()
        return starts

    def symbol(self, position: int) -> str:
        """Return the symbol at `position`."""
        return self.symbols[self.code(position)]

    def end_of(self, position: int) -> int:
        """Return the position after the last quote of the symbol at `position`."""
        return int(self.starts[self.code(position) + 1])

    def price(self, position: int) -> float:
        """Return the price in US dollars."""
        return float(self.scores["price"][position])

    def time(self, position: int) -> datetime:
        """Return the aware UTC time."""
        return from_microseconds(self.moment(position))

    def moment(self, position: int) -> int:
        """Return the time in microseconds since 1970."""
        return int(self.moments[position])

    def seconds(self, before: int, after: int) -> float:
        """Return the seconds between two quotes."""
        return int(self.moments[after] - self.moments[before]) / MICROSECONDS

    def log_move(self, before: int, after: int) -> float:
        """Return the log return between two quotes."""
        return math.log(self.price(after)) - math.log(self.price(before))

    def move(self, before: int, after: int) -> float:
        """Return the simple return between two quotes, always finite."""
        return min(self.price(after) / self.price(before) - 1, LARGEST_RETURN)

    def number(self, name: str, position: int) -> float:
        """Return one score."""
        return float(self.scores[name][position])

    def quality(self, position: int) -> list[str]:
        """Return the quality flags of a quote."""
        return [flag for flag in str(self.scores["quality"][position]).split(",") if flag]

    def first_from(self, position: int, moment: int) -> int:
        """Return the first quote of the same symbol at or after `moment`; its end if there is none."""
        code = self.code(position)
        first, end = int(self.starts[code]), int(self.starts[code + 1])
        return first + int(np.searchsorted(self.moments[first:end], moment))

    def usual_gap(self, position: int) -> float:
        """Return the median of the last 48 gaps before a quote, seconds; NaN if fewer than three are known."""
        key = ("usual_gap", position)
        if key not in self.cache:
            first = max(int(self.starts[self.code(position)]), position - _GAPS - 1)
            moments = self.moments[first:position].tolist()
            gaps = [later - earlier for earlier, later in pairwise(moments)]
            self.cache[key] = median(gaps) / MICROSECONDS if len(gaps) >= _FEWEST_GAPS else math.nan
        usual: float = self.cache[key]
        return usual

    def width(self, position: int, minutes: float) -> int:
        """Return `minutes`, or 1.5 usual intervals before a quote if that is longer, in microseconds."""
        usual = self.usual_gap(position)
        return int(max(minutes * MINUTE, 0.0 if math.isnan(usual) else _NEIGHBOURS * usual * MICROSECONDS))

    def is_live(self, positions: Positions, moment: int) -> NDArray[np.bool_]:
        """Return for quotes at or before `moment` whether the next one is not overdue by then; one quote a coin."""
        ages: Positions = moment - self.moments[positions]
        late = np.flatnonzero(ages > _LIVE * MINUTE)
        live = np.ones(len(positions), dtype=np.bool_)
        live[late] = [ages[row] <= self.width(int(positions[row]), _LIVE) for row in late]
        return live

    def latest(self, moment: int) -> Positions:
        """Return the last quote of each symbol at or before `moment`, -1 where there is none."""
        keys, origin, width = self._keys
        offset = min(max(moment - origin, -1), width - 1)
        found = np.searchsorted(keys, np.arange(len(self.symbols)) * width + offset, side="right") - 1
        latest: Positions = np.where(found >= self.starts[:-1], found, -1)
        return latest


def group(scores: Columns) -> ScoreTable:
    """Build the table of `scores`, whose symbols may be interleaved; the rows of each are in time order."""
    names = scores["symbol"]
    if not len(names):
        return ScoreTable(scores, (), np.zeros(1, dtype=np.int64), np.empty(0, dtype=np.int64))
    starts = _starts(names)
    if len(set(names[starts])) < len(starts):
        codes = {name: code for code, name in enumerate(dict.fromkeys(names.tolist()))}
        order = np.argsort(np.array([codes[name] for name in names.tolist()]), kind="stable")
        scores = _reordered(scores, order)
        starts = _starts(scores["symbol"])
    symbols = tuple(str(name) for name in scores["symbol"][starts])
    moments = scores["timestamp"].astype("datetime64[us]").view(np.int64)
    return ScoreTable(scores, symbols, np.append(starts, len(names)), moments)


def _starts(names: NDArray[np.object_]) -> Positions:
    return np.concatenate([[0], np.flatnonzero(names[1:] != names[:-1]) + 1])


def _reordered(scores: Columns, order: Positions) -> Columns:
    position_of = np.empty(len(order) + 1, dtype=np.int64)
    position_of[order] = np.arange(len(order))
    position_of[-1] = -1
    moved = scores.take(order)
    pointers = {name: position_of[moved[name]] for name in ("before", "large_move_before")}
    return Columns({**moved.arrays, **pointers})


def simple_return(log_return: float) -> float:
    """Return exp(log_return) - 1, finite."""
    return math.expm1(min(log_return, LARGEST_LOG_RETURN))

