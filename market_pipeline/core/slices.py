"""Days of symbols, as requests and queries use them; `defs.partitions` makes them of Dagster's partitions."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market_pipeline.core.clock import DAY, start_of_day

# A UTC day of a symbol: one partition.
DayOfSymbol = tuple[date, str]


@dataclass(frozen=True)
class Slice:
    """Whole UTC days `first`..`last` (both included) of `symbol`."""

    symbol: str
    first: date
    last: date

    @property
    def start(self) -> datetime:
        """The first instant of the slice."""
        return start_of_day(self.first)

    @property
    def end(self) -> datetime:
        """The first instant after the slice."""
        return start_of_day(self.last) + DAY

    @property
    def days(self) -> list[date]:
        """Its days, in order."""
        return [self.first + timedelta(days=n) for n in range((self.last - self.first).days + 1)]


def merge_days(days: Iterable[DayOfSymbol]) -> list[Slice]:
    """Return the fewest slices that cover exactly these days, by symbol and then by day."""
    slices: list[Slice] = []
    for symbol, day in sorted({(symbol, day) for day, symbol in days}):
        if slices and slices[-1].symbol == symbol and slices[-1].last + DAY == day:
            slices[-1] = Slice(symbol, slices[-1].first, day)
        else:
            slices.append(Slice(symbol, day, day))
    return slices
