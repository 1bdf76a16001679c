"""Which past days lack prices, how complete each symbol is, and which days to request now."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain

from market_pipeline.coingecko.client import reach_of
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import (
    EXPECTED_POINTS,
    LONGEST_GAP,
    Interval,
    day_interval,
    gaps,
    last_settled_day,
    without,
)
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage, first_arrivals, first_days
from market_pipeline.storage.queries.source_gaps import stored_absences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.tables import raw_prices

DAYS_MEASURED = 90
# Gaps in these last days are requested without a person; of older days only those without any price.
DAYS_REPAIRED = 30
# The anomalies of so many past days are computed without a person, as soon as prices or detectors make it necessary.
DAYS_SCORED = 90


@dataclass(frozen=True)
class GappyDay:
    """A past day of a symbol with a gap longer than `LONGEST_GAP`.

    `absences` are the stretches in its gaps for which the source gave no prices. It is `explained` if proven absences
    that have not expired account for every gap: such a day counts as complete. `ask_again_at` is when to request it,
    None for now.
    """

    day: date
    symbol: str
    absences: tuple[Absence, ...]
    explained: bool
    ask_again_at: datetime | None

    @property
    def due(self) -> bool:
        """Whether to request it now."""
        return self.ask_again_at is None


@dataclass(frozen=True)
class PastDays:
    """The past days of one symbol, from the day of its first stored price on.

    `measured` are all of them in order, `missing` those that lack prices which the source may have, `due` those to
    request now, `source_gaps` the stretches for which the source gave no prices. `stored` is whether any price of the
    symbol is stored; one whose prices begin today has no past day yet.
    """

    symbol: str
    stored: bool
    measured: tuple[DayCoverage, ...]
    missing: tuple[date, ...]
    due: tuple[date, ...]
    source_gaps: tuple[Absence, ...]

    @property
    def points(self) -> int:
        """How many prices are stored on the measured days."""
        return sum(covered.points for covered in self.measured)

    @property
    def expected_points(self) -> int:
        """How many prices complete days would have."""
        return sum(covered.expected for covered in self.measured)

    @property
    def largest_gap(self) -> timedelta:
        """The longest time without a point inside one of the days; zero where no day is measured."""
        return max((covered.largest_gap for covered in self.measured), default=timedelta(0))


def past_days(
    database: Database, catalogue: Catalogue, history_start: date, now: datetime, days: int = DAYS_MEASURED
) -> list[PastDays]:
    """Measure the last `days` past days of every coin of `catalogue`, in its order.

    Days before `history_start` have no partitions and cannot be filled, so they are not measured. The last day is the
    one that had ended an hour before `now` (aware).
    """
    last = last_settled_day(now)
    first_stored = first_days(database, catalogue.symbols)
    oldest = max(history_start, last - (days - 1) * DAY)
    first_measured = {symbol: max(day, oldest) for symbol, day in first_stored.items()}
    slices = [Slice(symbol, first, last) for symbol, first in first_measured.items() if first <= last]
    measured: dict[str, list[DayCoverage]] = defaultdict(list)
    for covered in day_coverage(database, slices):
        measured[covered.symbol].append(covered)
    gappy: dict[str, list[GappyDay]] = defaultdict(list)
    for day in find_gaps(database, catalogue, chain.from_iterable(measured.values()), now):
        gappy[day.symbol].append(day)
    return [
        PastDays(
            symbol,
            symbol in first_stored,
            tuple(measured[symbol]),
            tuple(gap.day for gap in gappy[symbol] if not gap.explained),
            tuple(gap.day for gap in gappy[symbol] if gap.due),
            tuple(absences_of(gappy[symbol])),
        )
        for symbol in catalogue.symbols
    ]


def oldest_day(reach: timedelta | None, now: datetime) -> date | None:
    """Return the oldest day that a plan with this `reach` serves from its first minute on, None without a limit."""
    return None if reach is None else (now - reach).date() + DAY


def repaired_span(settings: Settings, now: datetime) -> tuple[date, date]:
    """Return the first and the last day that are requested without a person at `now` (aware UTC)."""
    first, oldest = settings.first_day(now), oldest_day(reach_of(settings.coingecko_plan), now)
    return max(first, oldest or first), last_settled_day(now)


def days_to_repair(database: Database, settings: Settings, now: datetime) -> list[GappyDay]:
    """Return the days since `HISTORY_START` that lack prices, those to request now and those that wait.

    Days of the last `DAYS_REPAIRED` lack prices if they have a gap, older ones if they have no price at all. Measuring
    the gaps of a year would read all of its prices.
    """
    catalogue, (first, last) = settings.catalogue, repaired_span(settings, now)
    recent = max(first, last - (DAYS_REPAIRED - 1) * DAY)
    older = [
        *empty_days(database, catalogue, first, recent - DAY, now),
        *days_with_absences(
            database, catalogue, max(first, last - (DAYS_MEASURED - 1) * DAY), recent - DAY, now
        ),
    ]
    unique = {(gap.day, gap.symbol): gap for gap in older}
    return [*gappy_days(database, catalogue, recent, last, now), *unique.values()]


def empty_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """Return the days of `first`..`last` without a single price: cheap, because prices need not be read."""
    if first > last:
        return []
    stored = first_arrivals(database, catalogue.symbols, first, last)
    days = [(day, symbol) for symbol in catalogue.symbols for day in Slice(symbol, first, last).days]
    empty = [DayCoverage(symbol, day, 0, EXPECTED_POINTS, DAY) for day, symbol in days if (day, symbol) not in stored]
    return find_gaps(database, catalogue, empty, now)


def incomplete_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[DayOfSymbol]:
    """Return the `gappy_days` that are not explained."""
    return [(gap.day, gap.symbol) for gap in gappy_days(database, catalogue, first, last, now) if not gap.explained]


def gappy_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """Return the days of `first`..`last` with a gap longer than `LONGEST_GAP`, by symbol and day.

    Days that had not ended an hour before `now` (aware) are left out: their history is still being published. The cost
    grows with the number of days, not with what is stored.
    """
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    slices = [Slice(symbol, first, last) for symbol in catalogue.symbols]
    return find_gaps(database, catalogue, day_coverage(database, slices), now)


def days_with_absences(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """Return those `gappy_days` for which the source returned no prices before: cheap, because such days are few."""
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    known = stored_absences(database, catalogue, start_of_day(first), start_of_day(last) + DAY)
    days = [(day, absence.symbol) for absence in known for day in absence.days if first <= day <= last]
    covered = day_coverage(database, merge_days(days)) if days else []
    return [gap for gap in find_gaps(database, catalogue, covered, now) if gap.absences]


def find_gaps(
    database: Database, catalogue: Catalogue, covered: Iterable[DayCoverage], now: datetime
) -> list[GappyDay]:
    """Return those of the `covered` days, in their order, that have a gap longer than `LONGEST_GAP`."""
    days = [(day.day, day.symbol) for day in covered if day.largest_gap > LONGEST_GAP]
    if not days:
        return []
    start, end = min(day for day, _ in days), max(day for day, _ in days)
    known: dict[str, list[Absence]] = defaultdict(list)
    for absence in stored_absences(database, catalogue, start_of_day(start), start_of_day(end) + DAY):
        known[absence.symbol].append(absence)
    # Times are needed only where an absence may explain a gap.
    times = _stored_times(database, [(day, symbol) for day, symbol in days if symbol in known])
    return [_gappy_day(day, symbol, times.get((day, symbol), []), known[symbol], now) for day, symbol in days]


def absences_of(days: Iterable[GappyDay]) -> list[Absence]:
    """Return the absences of `days`, each once: one may reach over several days."""
    return list(dict.fromkeys(absence for day in days for absence in day.absences))


def _stored_times(database: Database, days: Sequence[DayOfSymbol]) -> dict[DayOfSymbol, list[datetime]]:
    if not days:
        return {}
    stored = read_columns(database, raw_prices, merge_days(days), columns=["symbol", "timestamp"])
    times: dict[DayOfSymbol, list[datetime]] = defaultdict(list)
    for symbol, moment in zip(stored["symbol"], stored.datetimes("timestamp"), strict=True):
        times[moment.date(), symbol].append(moment)
    return times


def _gappy_day(day: date, symbol: str, times: list[datetime], known: list[Absence], now: datetime) -> GappyDay:
    whole = day_interval(day)
    known = [absence for absence in known if absence.span.overlaps(whole)]
    found = gaps(times, whole.start, whole.end, LONGEST_GAP) if known else [whole]
    here = tuple(absence for absence in known if any(absence.span.overlaps(gap) for gap in found))
    valid = [absence for absence in here if absence.holds_at(now)]
    # A silence that ticks found before the day was published does not postpone the request for its history.
    answered = [absence for absence in valid if absence.proven or absence.settled]
    explained = not _remain(found, [absence for absence in valid if absence.proven])
    again = [absence.ask_again_at for absence in answered if absence.ask_again_at]
    return GappyDay(
        day, symbol, here, explained, None if _remain(found, answered) else min(again, default=None)
    )


def _remain(found: list[Interval], known: list[Absence]) -> bool:
    """Return whether a gap remains outside the `known` absences."""
    rest = without(found, [absence.span for absence in known])
    return any(gap.length > LONGEST_GAP for gap in rest)
