"""Days whose anomalies have to be recomputed: their prices or their calibration came later, or the detectors changed.

A day depends on the prices of all symbols on that day, the `PAST_DAYS` before it and the morning after it: filling an
old gap of one coin changes the scores of the others for a week. The morning arrives tick by tick, so a day is scored
again by the first of them, once more when the morning is over, and whenever prices of that morning come later.
"""

import sys
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.anomalies import MORNING, PAST_DAYS
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES, scored_at
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.automation.partition_events import PartitionEvents, latest_events
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibration_times
from market_pipeline.storage.queries.coverage import newest_arrivals

# Calibrations older than this at the start of a day have been known for long.
_KNOWN_FOR = 100 * DAY
# A tick stores the last quotes of the morning within so long.
_STORED_AFTER = timedelta(minutes=5)


def outdated_days(
    events: PartitionEvents,
    database: Database,
    days: Iterable[DayOfSymbol],
    symbols: Sequence[str],
    now: datetime,
    older: Iterable[DayOfSymbol] = (),
) -> list[DayOfSymbol]:
    """Return those of `days` whose anomalies have to be recomputed at `now` (aware UTC).

    According to `events` and the times in `database`. `symbols` are all that exist. Of `older` days,
    not those that only former detectors scored: their scores are kept.
    """
    of_old = set(older)
    wanted = sorted({*days, *of_old})
    window = {day - n * DAY for day, _ in wanted for n in range(-1, PAST_DAYS + 1)}
    of_all, scored_by_any = events.materialized(RAW_PRICES), events.materialized(PRICE_ANOMALIES)
    collected = {
        (day, symbol): of_all[day, symbol] for day in window for symbol in symbols if (day, symbol) in of_all
    }
    ever_scored, versions = scored_by_any.keys() & wanted, events.versions(PRICE_ANOMALIES)
    times = {day: at for day in ever_scored & versions.keys() if (at := scored_at(versions[day]))}
    # Scores of other detectors count as none.
    scored = {day: scored_by_any[day] for day in times}
    found = {*outdated(collected, scored, wanted)}
    if changed := _changed(events, collected, scored, found, PAST_DAYS):
        collected |= changed
        found = {*outdated(collected, scored, wanted)}
    if times:
        oldest = start_of_day(min(day for day, _ in times)) - _KNOWN_FOR
        found |= recalibrated(times, calibration_times(database, oldest, DETECTOR_VERSION))
    found |= _with_later_morning(database, collected, scored, times, symbols, now)
    kept = (of_old & ever_scored) - times.keys()
    return [day for day in wanted if day in found and day not in kept]


def unbarred_days(events: PartitionEvents, days: Iterable[DayOfSymbol]) -> list[DayOfSymbol]:
    """Return those of `days` with prices or scores that came after their bars.

    They were made by hand, or before there were bars; scores decide which quotes are bad ticks.
    """
    wanted = [day for day in days if day in events.materialized(RAW_PRICES)]
    collected = {day: events.materialized(RAW_PRICES)[day] for day in wanted}
    scored, barred = events.materialized(PRICE_ANOMALIES), events.materialized(DAILY_BARS)
    collected |= _changed(events, collected, barred, [day for day in wanted if barred.get(day, 0) < collected[day]], 0)
    return [day for day in wanted if barred.get(day, 0) < max(collected[day], scored.get(day, 0))]


def _changed(
    events: PartitionEvents,
    collected: Mapping[DayOfSymbol, int],
    made: Mapping[DayOfSymbol, int],
    suspects: Iterable[DayOfSymbol],
    days_before: int,
) -> dict[DayOfSymbol, int]:
    """Return the event that brought the prices of those days which may have been reported again without a change.

    `suspects` were `made` of them before the newest event of one, on the same day or up to `days_before` earlier.
    """
    oldest: dict[date, int] = {}
    for suspect in suspects:
        if number := made.get(suspect):
            oldest[suspect[0]] = min(number, oldest.get(suspect[0], number))
    since = {
        day - n * DAY: min(oldest.get(day - n * DAY + m * DAY, sys.maxsize) for m in range(days_before + 1))
        for day in oldest for n in range(days_before + 1)
    }
    later = [day for day, number in collected.items() if number > since.get(day[0], number)]
    return events.changed(RAW_PRICES, later)


def was_collected(instance: dg.DagsterInstance, day: date, symbols: Sequence[str]) -> bool:
    """Return whether prices of `day` have been collected, of any of `symbols`."""
    return bool(latest_events(instance, RAW_PRICES, [(day, symbol) for symbol in symbols]))


def outdated(
    collected: Mapping[DayOfSymbol, int], scored: Mapping[DayOfSymbol, int], days: Iterable[DayOfSymbol]
) -> list[DayOfSymbol]:
    """Return those of `days` that were scored before prices of any symbol came, on that day or those before it.

    The mappings hold a number that grows with time. A day that was never collected has no scores.
    """
    newest = _newest(collected)
    last = {day: max(newest.get(day - n * DAY, 0) for n in range(PAST_DAYS + 1)) for day in newest}
    return [one for one in days if one in collected and scored.get(one, 0) < last[one[0]]]


def recalibrated(times: Mapping[DayOfSymbol, datetime], made: Mapping[datetime, datetime]) -> set[DayOfSymbol]:
    """Return the days scored at `times` before their calibration was made, or that of the day before.

    `made` are the times at which calibrations were made, by as-of time in order. A day is scored with the newest one
    that was known when it began.
    """
    as_ofs = list(made)

    def made_at(day: date) -> datetime | None:
        number = bisect_right(as_ofs, start_of_day(day)) - 1
        return made[as_ofs[number]] if number >= 0 else None

    return {
        one for one, at in times.items() if any(later and at < later for later in map(made_at, (one[0], one[0] - DAY)))
    }


def morning_is_over(day: date, now: datetime) -> bool:
    """Return whether the prices of the morning of `day` are stored, if ticks brought them."""
    return now >= start_of_day(day) + MORNING + _STORED_AFTER


def look_is_due(day: date, scored: datetime, now: datetime) -> bool:
    """Return whether `day`, scored at `scored`, is to be scored again with the morning after it, as far as it is known.

    Once when that has begun and once when it is over.
    """
    end = start_of_day(day) + DAY
    return scored < (end + MORNING if morning_is_over(day + DAY, now) else end)


def _with_later_morning(
    database: Database,
    collected: Mapping[DayOfSymbol, int],
    scored: Mapping[DayOfSymbol, int],
    times: Mapping[DayOfSymbol, datetime],
    symbols: Sequence[str],
    now: datetime,
) -> set[DayOfSymbol]:
    """Return the `scored` days that have prices of the morning after them which came after they were scored."""
    newest = _newest(collected)
    followed = {one for one in scored if newest[one[0] + DAY]}
    found = {one for one in followed if look_is_due(one[0], times[one], now)}
    # The ticks of the next day count as well until it is over, but bring nothing of its morning.
    doubtful = {
        one for one in followed - found if scored[one] < newest[one[0] + DAY] and one[0] + DAY < now.date()
    }
    ends = sorted({start_of_day(day) + DAY for day, _ in doubtful})
    arrived = newest_arrivals(database, symbols, [(end, end + MORNING) for end in ends])
    return found | {one for one in doubtful if times[one] < arrived.get(start_of_day(one[0]) + DAY, times[one])}


def _newest(collected: Mapping[DayOfSymbol, int]) -> Mapping[date, int]:
    """Return the newest number of each day; 0 of any other."""
    newest: dict[date, int] = defaultdict(int)
    for (day, _), number in collected.items():
        newest[day] = max(number, newest[day])
    return newest
