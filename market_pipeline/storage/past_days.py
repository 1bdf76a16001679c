"""How complete the past days of each symbol are: the one measure behind what the UI plots and checks."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from market_pipeline.clock import DAY, start_of_day
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.slices import Slice
from market_pipeline.storage.completeness import incomplete_days
from market_pipeline.storage.coverage import DayCoverage, day_coverage, first_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.source_gaps import remembered
from market_pipeline.symbols import Catalogue

DAYS_MEASURED = 90


@dataclass(frozen=True)
class PastDays:
    """The past days of one symbol, from that of its first stored price, at most `DAYS_MEASURED` of them.

    `measured` are all of them in order, `missing` those that lack prices which the source may have,
    `source_gaps` where it has none itself. `stored` is whether any price of the symbol is stored; one
    whose prices begin today has no past day yet.
    """

    symbol: str
    stored: bool
    measured: tuple[DayCoverage, ...]
    missing: tuple[date, ...]
    source_gaps: tuple[Absence, ...]

    @property
    def points(self) -> int:
        return sum(covered.points for covered in self.measured)

    @property
    def expected_points(self) -> int:
        return sum(covered.expected for covered in self.measured)

    @property
    def largest_gap(self) -> timedelta:
        """The longest time without a point inside one of the days; zero where no day is measured."""
        return max((covered.largest_gap for covered in self.measured), default=timedelta(0))


def past_days(database: Database, catalogue: Catalogue, now: datetime) -> list[PastDays]:
    """The past days of every coin of `catalogue`, in its order.

    The last day is the one that had ended an hour before `now` (aware).
    """
    last = last_settled_day(now)
    begun = first_days(database, catalogue.symbols)
    first = {symbol: max(day, last - (DAYS_MEASURED - 1) * DAY) for symbol, day in begun.items()}
    missing = incomplete_days(database, catalogue, min(first.values(), default=last), last, now)
    found = []
    for coin in catalogue:
        start = first.get(coin.symbol, last + DAY)
        if start > last:
            found.append(PastDays(coin.symbol, coin.symbol in begun, (), (), ()))
            continue
        found.append(
            PastDays(
                coin.symbol,
                True,
                tuple(day_coverage(database, [Slice(coin.symbol, start, last)])),
                tuple(day for day, symbol in missing if symbol == coin.symbol and day >= start),
                tuple(remembered(database, [coin], start_of_day(start), start_of_day(last + DAY))),
            )
        )
    return found
