"""Which runs bring a set of past days up to date, with the fewest requests for history. Pure functions.

A run covers a rectangle of days and of symbols that stand next to each other in the settings, and
asks one request a symbol as long as its days fit into one window.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

from market_pipeline.prices.history import LONGEST_WINDOW_DAYS, windows

# Dagster keeps some events for every partition of a run, which takes most of a long run's time.
LARGEST_RUN = 200


@dataclass(frozen=True)
class Repair:
    """All days `first`..`last` (both included) of all `symbols`, which are in configured order."""

    first: date
    last: date
    symbols: tuple[str, ...]

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    @property
    def partitions(self) -> int:
        return self.days * len(self.symbols)

    @property
    def requests(self) -> int:
        """Requests for history that it needs: its days are one window."""
        return len(self.symbols)

    def __str__(self) -> str:
        return f"{self.first} to {self.last} of {', '.join(self.symbols)}"


def plan_repairs(
    days: Iterable[tuple[date, str]],
    symbols_in_order: Sequence[str],
    longest: int = LONGEST_WINDOW_DAYS,
    largest: int = LARGEST_RUN,
) -> list[Repair]:
    """The repairs that cover these (UTC day, symbol) pairs, each once, the newest days first.

    None has more than `longest` days or `largest` partitions, and together they need as few requests
    as is possible (see `windows`), for which they may hold days in between that lack nothing.
    ValueError for a symbol that is not among `symbols_in_order`.
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


def _neighbours(positions: Iterable[int], most: int) -> Iterator[tuple[int, int]]:
    """Half-open ranges of at most `most` numbers that follow each other."""
    start: int | None = None
    end = -1
    for position in sorted(positions):
        if start is not None and position == end and position - start < most:
            end += 1
            continue
        if start is not None:
            yield start, end
        start, end = position, position + 1
    if start is not None:
        yield start, end
