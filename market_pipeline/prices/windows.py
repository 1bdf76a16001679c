"""How a set of past days becomes the fewest requests for history, and the fewest runs. Pure functions."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from itertools import groupby

from market_pipeline.core.slices import DayOfSymbol, Slice

# CoinGecko answers a longer range with one price a day instead of one an hour.
LONGEST_WINDOW_DAYS = 90

# Dagster stores some events for every partition of a run, which takes most of a long run's time. A window of five
# symbols fits: on a first start it is one run.
LARGEST_RUN = 450


def windows(days: Iterable[DayOfSymbol], longest: int = LONGEST_WINDOW_DAYS) -> list[Slice]:
    """Return the fewest slices of at most `longest` days that cover `days`: a year of one symbol is five.

    By symbol, and then the newest first. Days in between are bridged: a request costs the same with or without them.
    """
    found: list[Slice] = []
    for day, symbol in sorted(set(days), key=lambda pair: (pair[1], -pair[0].toordinal())):
        newest = found[-1] if found else None
        if newest and newest.symbol == symbol and newest.last - day < timedelta(days=longest):
            found[-1] = Slice(symbol, day, newest.last)
        else:
            found.append(Slice(symbol, day, day))
    return found


@dataclass(frozen=True)
class Repair:
    """One run: all days `first`..`last` (both included) of all `symbols`, which are in configured order."""

    first: date
    last: date
    symbols: tuple[str, ...]

    @property
    def days(self) -> int:
        """How many days it covers."""
        return (self.last - self.first).days + 1

    @property
    def partitions(self) -> int:
        """How many partitions it covers: one of each day and symbol."""
        return self.days * len(self.symbols)

    @property
    def requests(self) -> int:
        """How many requests for history it needs: its days are one window."""
        return len(self.symbols)

    def __str__(self) -> str:
        return f"{self.first} to {self.last} of {', '.join(self.symbols)}"


def plan_repairs(
    days: Iterable[DayOfSymbol],
    symbols_in_order: Sequence[str],
    longest: int = LONGEST_WINDOW_DAYS,
    largest: int = LARGEST_RUN,
) -> list[Repair]:
    """Return the repairs that cover `days`, each day once, the newest days first.

    None has more than `longest` days or `largest` partitions. Together they need as few requests as possible
    (see `windows`), so they may include days that lack nothing. Each covers symbols that are neighbours in
    `symbols_in_order`, because a Dagster range of partitions does; ValueError for a symbol that is not among them.
    """
    position = {symbol: number for number, symbol in enumerate(symbols_in_order)}
    sharing: dict[tuple[date, date], list[int]] = {}
    for window in windows(days, min(longest, largest)):
        if window.symbol not in position:
            raise ValueError(f"{window.symbol} is not among {', '.join(symbols_in_order)}")
        sharing.setdefault((window.last, window.first), []).append(position[window.symbol])
    return [
        Repair(first, last, tuple(symbols_in_order[start:end]))
        for last, first in sorted(sharing, reverse=True)
        for start, end in _neighbours(sharing[last, first], largest // ((last - first).days + 1))
    ]


def plan_scores(days: Iterable[DayOfSymbol], symbols_in_order: Sequence[str]) -> list[Repair]:
    """Return the runs that score `days`, the newest days first.

    Few days of all symbols rather than many days of few: a day is scored with the prices of all of them.
    """
    longest = max(1, LARGEST_RUN // max(1, len(symbols_in_order)))
    return plan_repairs(days, symbols_in_order, longest, max(LARGEST_RUN, len(symbols_in_order)))


def _neighbours(positions: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """Yield half-open ranges of at most `most` consecutive numbers."""
    for _, numbered in groupby(enumerate(sorted(positions)), lambda pair: pair[1] - pair[0]):
        consecutive = [position for _, position in numbered]
        for first in range(0, len(consecutive), most):
            part = consecutive[first : first + most]
            yield part[0], part[-1] + 1
