"""How complete the past days of each symbol are: the one measure behind what the UI plots and checks."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain

from market_pipeline.core.clock import DAY
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue
from market_pipeline.pipeline.missing_days import GappyDay, gappy, stretches
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage, first_days

DAYS_MEASURED = 90


@dataclass(frozen=True)
class PastDays:
    """The past days of one symbol, from that of its first stored price; how many, who asks says.

    `measured` are all of them in order, `missing` those that lack prices which the source may have, `due` those of
    them for which it is to be asked now, `source_gaps` where it gave none when it was asked. `stored` is whether
    any price of the symbol is stored; one whose prices begin today has no past day yet.
    """

    symbol: str
    stored: bool
    measured: tuple[DayCoverage, ...]
    missing: tuple[date, ...]
    due: tuple[date, ...]
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


def past_days(
    database: Database, catalogue: Catalogue, history_start: date, now: datetime, days: int = DAYS_MEASURED
) -> list[PastDays]:
    """The past days of every coin of `catalogue`, in its order, at most `days` of them.

    Days before `history_start` have no partitions and can be filled by nothing, so they are not measured.
    The last day is the one that had ended an hour before `now` (aware).
    """
    last = last_settled_day(now)
    begun = first_days(database, catalogue.symbols)
    oldest = max(history_start, last - (days - 1) * DAY)
    slices = [
        Slice(symbol, max(day, oldest), last) for symbol, day in begun.items() if max(day, oldest) <= last
    ]
    measured: dict[str, list[DayCoverage]] = defaultdict(list)
    for covered in day_coverage(database, slices):
        measured[covered.symbol].append(covered)
    gaps: dict[str, list[GappyDay]] = defaultdict(list)
    for day in gappy(database, catalogue, chain.from_iterable(measured.values()), now):
        gaps[day.symbol].append(day)
    return [
        PastDays(
            symbol,
            symbol in begun,
            tuple(measured[symbol]),
            tuple(one.day for one in gaps[symbol] if not one.explained),
            tuple(one.day for one in gaps[symbol] if one.due),
            tuple(stretches(gaps[symbol])),
        )
        for symbol in catalogue.symbols
    ]
