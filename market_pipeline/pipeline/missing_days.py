"""Which past days lack prices, and which of these the source is to be asked for now."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from itertools import chain

from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import LONGEST_GAP, Interval, day_interval, gaps, last_settled_day, without
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage, first_days
from market_pipeline.storage.queries.source_gaps import stored_absences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.schema.tables import raw_prices


@dataclass(frozen=True)
class GappyDay:
    """A past day of a symbol with a gap longer than `LONGEST_GAP`.

    `absences` are the stretches in its gaps for which the source gave no prices. It is `explained` if those that
    are proven and hold account for every gap: such a day counts as complete. `ask_again_at` is when the source is
    to be asked for it, None for now.
    """

    day: date
    symbol: str
    absences: tuple[Absence, ...]
    explained: bool
    ask_again_at: datetime | None

    @property
    def due(self) -> bool:
        """Whether the source is to be asked for it now."""
        return self.ask_again_at is None


def incomplete_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[DayOfSymbol]:
    """The (UTC day, symbol) of `gappy_days` that are not explained."""
    return [(one.day, one.symbol) for one in gappy_days(database, catalogue, first, last, now) if not one.explained]


def due_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[DayOfSymbol]:
    """The (UTC day, symbol) of `gappy_days` for which the source is to be asked at `now`."""
    return [(one.day, one.symbol) for one in gappy_days(database, catalogue, first, last, now) if one.due]


def days_with_absences(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """Those of `gappy_days` for which the source gave no prices before: cheap, because such days are few."""
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    known = stored_absences(database, catalogue, start_of_day(first), start_of_day(last) + DAY)
    days = [(day, one.symbol) for one in known for day in one.days if first <= day <= last]
    covered = day_coverage(database, merge_days(days)) if days else []
    return [one for one in find_gaps(database, catalogue, covered, now) if one.absences]


def gappy_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """The days of `first`..`last` with a gap longer than `LONGEST_GAP`, by symbol and day.

    Days that had not ended an hour before `now` (aware) are left out: their history is still being
    published. The cost follows the days asked for, not what is stored.
    """
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    slices = [Slice(symbol, first, last) for symbol in catalogue.symbols]
    return find_gaps(database, catalogue, day_coverage(database, slices), now)


def find_gaps(
    database: Database, catalogue: Catalogue, covered: Iterable[DayCoverage], now: datetime
) -> list[GappyDay]:
    """Those of the `covered` days, in their order, that have a gap longer than `LONGEST_GAP`."""
    days = [(one.day, one.symbol) for one in covered if one.largest_gap > LONGEST_GAP]
    if not days:
        return []
    start, end = min(day for day, _ in days), max(day for day, _ in days)
    known: dict[str, list[Absence]] = defaultdict(list)
    for absence in stored_absences(database, catalogue, start_of_day(start), start_of_day(end) + DAY):
        known[absence.symbol].append(absence)
    # Only where something is known of the source do the times themselves have to be looked at.
    times = _times(database, [(day, symbol) for day, symbol in days if symbol in known])
    return [_judged(day, symbol, times.get((day, symbol), []), known[symbol], now) for day, symbol in days]


def _times(database: Database, days: list[DayOfSymbol]) -> dict[DayOfSymbol, list[datetime]]:
    """The times of the stored prices of `days`."""
    if not days:
        return {}
    stored = read_columns(database, raw_prices, merge_days(days), columns=["symbol", "timestamp"])
    times: dict[DayOfSymbol, list[datetime]] = defaultdict(list)
    for symbol, moment in zip(stored["symbol"], stored.datetimes("timestamp")):
        times[moment.date(), symbol].append(moment)
    return times


def _judged(day: date, symbol: str, times: list[datetime], known: list[Absence], now: datetime) -> GappyDay:
    whole = day_interval(day)
    known = [one for one in known if one.span.overlaps(whole)]
    found = gaps(times, whole.start, whole.end, LONGEST_GAP) if known else [whole]
    here = tuple(one for one in known if any(one.span.overlaps(gap) for gap in found))
    valid = [one for one in here if one.holds_at(now)]
    explained = not _remaining(found, [one for one in valid if one.proven])
    # What ticks found before the day was published does not keep its history from being asked for.
    asked = [one for one in valid if one.proven or one.settled]
    times_again = [one.ask_again_at for one in asked if one.ask_again_at]
    again = None if _remaining(found, asked) else min(times_again, default=None)
    return GappyDay(day, symbol, here, explained, again)


def absences_of(days: Iterable[GappyDay]) -> list[Absence]:
    """The absences of `days`, each once: one may reach over several days."""
    return list(dict.fromkeys(absence for day in days for absence in day.absences))


def _remaining(found: list[Interval], known: list[Absence]) -> bool:
    left = without(found, [one.span for one in known])
    return any(gap.length > LONGEST_GAP for gap in left)


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
    for day in find_gaps(database, catalogue, chain.from_iterable(measured.values()), now):
        gaps[day.symbol].append(day)
    return [
        PastDays(
            symbol,
            symbol in begun,
            tuple(measured[symbol]),
            tuple(one.day for one in gaps[symbol] if not one.explained),
            tuple(one.day for one in gaps[symbol] if one.due),
            tuple(absences_of(gaps[symbol])),
        )
        for symbol in catalogue.symbols
    ]
