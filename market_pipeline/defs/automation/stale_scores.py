"""Days whose anomalies have to be recomputed: their prices or their calibration came later, or the detectors changed.

A day depends on the prices of all symbols on that day, the `PAST_DAYS` before it and the morning after it: filling an
old gap of one coin changes the scores of the others for a week. The morning arrives tick by tick, so a day is scored
again by the first of them, once more when the morning is over, and whenever prices of that morning come later.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.anomalies import MORNING, PAST_DAYS
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.dagster_instance.nonpublic import data_versions
from market_pipeline.dagster_instance.reports import partition_name
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES, scored_at
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.automation.missing_events import latest_events
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibration_times
from market_pipeline.storage.queries.coverage import newest_arrivals

# Calibrations older than this at the start of a day have been known for long.
_KNOWN_FOR = 100 * DAY
# A tick stores the last quotes of the morning within so long.
_STORED_AFTER = timedelta(minutes=5)


def outdated_days(
    instance: dg.DagsterInstance,
    database: Database,
    days: Iterable[DayOfSymbol],
    symbols: Sequence[str],
    now: datetime,
    older: Iterable[DayOfSymbol] = (),
) -> list[DayOfSymbol]:
    """Return those of `days` whose anomalies have to be recomputed at `now` (aware UTC).

    According to the events in `instance` and the times in `database`. `symbols` are all that exist. Of `older` days,
    not those that only former detectors scored: their scores are kept.
    """
    of_old = set(older)
    wanted = sorted({*days, *of_old})
    window = {day - n * DAY for day, _ in wanted for n in range(-1, PAST_DAYS + 1)}
    collected = latest_events(instance, RAW_PRICES, ((day, symbol) for day in window for symbol in symbols))
    scored = latest_events(instance, PRICE_ANOMALIES, wanted)
    times, ever_scored = _scored_at(instance, scored), set(scored)
    # Scores of other detectors count as none.
    scored = {day: scored[day] for day in times}
    found = {*outdated(collected, scored, wanted)}
    if times:
        oldest = start_of_day(min(day for day, _ in times)) - _KNOWN_FOR
        found |= recalibrated(times, calibration_times(database, oldest, DETECTOR_VERSION))
    found |= _with_later_morning(database, collected, scored, times, symbols, now)
    kept = (of_old & ever_scored) - times.keys()
    return [day for day in wanted if day in found and day not in kept]


def unbarred_days(instance: dg.DagsterInstance, days: Iterable[DayOfSymbol]) -> list[DayOfSymbol]:
    """Return those of `days` with prices or scores that came after their bars.

    They were made by hand, or before there were bars; scores decide which quotes are bad ticks.
    """
    wanted = list(days)
    barred = latest_events(instance, DAILY_BARS, wanted)
    collected, scored = (latest_events(instance, asset, wanted) for asset in (RAW_PRICES, PRICE_ANOMALIES))
    return [
        day for day in wanted
        if day in collected and barred.get(day, 0) < max(collected[day], scored.get(day, 0))
    ]


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
    return [
        (day, symbol)
        for day, symbol in days
        if (day, symbol) in collected
        and scored.get((day, symbol), 0) < max(newest[day - n * DAY] for n in range(PAST_DAYS + 1))
    ]


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


def _scored_at(instance: dg.DagsterInstance, scored: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, datetime]:
    """Return when each of `scored` was scored, if by the present detectors."""
    keys = {partition_name(day): day for day in scored}
    versions = data_versions(instance, PRICE_ANOMALIES, keys)
    return {keys[key]: at for key, version in versions.items() if (at := scored_at(version))}
