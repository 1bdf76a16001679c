"""Which past days lack prices that the source may have."""

from collections.abc import Iterable
from datetime import date, datetime

from market_pipeline.clock import DAY, start_of_day
from market_pipeline.prices.gaps import LONGEST_GAP, Interval, day_interval, gaps, last_settled_day, without
from market_pipeline.slices import Slice, merge_days
from market_pipeline.storage.coverage import DayCoverage, day_coverage
from market_pipeline.storage.engine import Database
from market_pipeline.storage.read import read_columns
from market_pipeline.storage.source_gaps import known_gaps
from market_pipeline.storage.tables import raw_prices
from market_pipeline.symbols import Catalogue

DayOfSymbol = tuple[date, str]


def incomplete_days(
    database: Database, catalogue: Catalogue, first: date, last: date, now: datetime
) -> list[DayOfSymbol]:
    """The (UTC day, symbol) of `first`..`last` with a gap longer than `LONGEST_GAP` that the source is
    not known to have itself, by symbol and day.

    Days that had not ended an hour before `now` (aware) are left out: their history is still being
    published. The cost follows the days asked for, not what is stored.
    """
    last = min(last, last_settled_day(now))
    if first > last:
        return []
    slices = [Slice(symbol, first, last) for symbol in catalogue.symbols]
    return lacking(database, catalogue, day_coverage(database, slices))


def lacking(database: Database, catalogue: Catalogue, covered: Iterable[DayCoverage]) -> list[DayOfSymbol]:
    """Those of the `covered` days, in their order, that have a gap longer than `LONGEST_GAP` that the source
    is not known to have itself."""
    gappy = [(one.day, one.symbol) for one in covered if one.largest_gap > LONGEST_GAP]
    if not gappy:
        return []
    days = [day for day, _ in gappy]
    known = known_gaps(database, catalogue, start_of_day(min(days)), start_of_day(max(days)) + DAY)
    # Only where something is known of the source do the times themselves have to be looked at.
    excused = _explained(database, [(day, symbol) for day, symbol in gappy if symbol in known], known)
    return [day for day in gappy if day not in excused]


def _explained(
    database: Database, days: list[DayOfSymbol], known: dict[str, list[Interval]]
) -> set[DayOfSymbol]:
    """Those of `days` of which every gap is a known one."""
    stored = read_columns(database, raw_prices, merge_days(days), columns=["symbol", "timestamp"])
    times: dict[DayOfSymbol, list[datetime]] = {day: [] for day in days}
    for symbol, moment in zip(stored["symbol"], stored.datetimes("timestamp")):
        times[moment.date(), symbol].append(moment)
    return {key for key in days if not _unexplained(key[0], times[key], known[key[1]])}


def _unexplained(day: date, times: list[datetime], known: list[Interval]) -> bool:
    whole = day_interval(day)
    here = [gap for gap in known if gap.overlaps(whole)]
    left = without(gaps(times, whole.start, whole.end, LONGEST_GAP), here)
    return any(gap.length > LONGEST_GAP for gap in left)
