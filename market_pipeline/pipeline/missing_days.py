"""Which past days lack prices, and which of these the source is to be asked for now."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import LONGEST_GAP, Interval, day_interval, gaps, last_settled_day, without
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage, day_coverage
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


def asked_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[GappyDay]:
    """Those of `gappy_days` for which the source gave no prices before: cheap, because such days are few."""
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    known = stored_absences(database, catalogue, start_of_day(first), start_of_day(last) + DAY)
    days = [(day, one.symbol) for one in known for day in one.days if first <= day <= last]
    covered = day_coverage(database, merge_days(days)) if days else []
    return [one for one in gappy(database, catalogue, covered, now) if one.absences]


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
    return gappy(database, catalogue, day_coverage(database, slices), now)


def gappy(
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


def stretches(days: Iterable[GappyDay]) -> list[Absence]:
    """The absences of `days`, each once: one may reach over several days."""
    return list(dict.fromkeys(absence for day in days for absence in day.absences))


def _remaining(found: list[Interval], known: list[Absence]) -> bool:
    left = without(found, [one.span for one in known])
    return any(gap.length > LONGEST_GAP for gap in left)
