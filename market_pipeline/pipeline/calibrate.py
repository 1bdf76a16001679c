"""Make the calibrations that are due from the stored prices of the days before them.

One is made every day, for the days from the coming midnight on. On a first start, after days without one and after a
change of the detectors there is none for the present day and for the past days to be scored: one is made for the
present day, and one a week for the past ones, each from the quotes before its own as-of time only.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.anomalies.scores.learning import calibrate_with_peaks
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.pipeline.missing_days import DAYS_SCORED
from market_pipeline.pipeline.peaks import peaks_before, read_prices, save_recent_peaks
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import (
    calibration_times,
    save_calibrations,
    stored_documents,
    symbols_with_prices,
)
from market_pipeline.storage.queries.coverage import first_arrivals, first_days

_WEEK = 7 * DAY


@dataclass(frozen=True)
class DueCalibrations:
    """The symbols to calibrate, by as-of time in order.

    `none_known` is whether no calibration is known for the present day, `at_once` whether not only that of the coming
    midnight is due, which is made once the past day is complete.
    """

    symbols: Mapping[datetime, tuple[str, ...]]
    none_known: bool = False
    at_once: bool = False


@dataclass(frozen=True)
class CalibrationResult:
    """What is stored for the time `as_of` of the requested symbols, and which of them are `new`.

    `calibration` is None where nothing is stored: there are no quotes of any of them. `without_quotes` are the symbols
    without any quotes, for which nothing is stored.
    """

    as_of: datetime
    calibration: Calibration | None
    new: tuple[str, ...]
    without_quotes: tuple[str, ...]


def next_as_of(now: datetime) -> datetime:
    """Return the as-of time of a calibration made at `now` (aware UTC): the coming midnight, UTC."""
    return start_of_day(now.date() + DAY)


def due_calibrations(
    database: Database, symbols: Sequence[str], now: datetime, *, missing: bool
) -> DueCalibrations:
    """Return what to calibrate at `now` (aware UTC); with `missing`, older prices may still arrive.

    The calibrations of the present day and of the coming midnight are made again if prices of past days have arrived
    since: no past day has been scored with them. Those of past weeks are final, so they wait for missing prices, a day
    at most.
    """
    today, coming = start_of_day(now.date()), next_as_of(now)
    weeks = _weeks(today)
    made = calibration_times(database, weeks[0] - _WEEK, DETECTOR_VERSION)
    begins = min(first_days(database, symbols).values(), default=today.date())
    arrivals = first_arrivals(
        database, symbols, max(begins, _remembered_from(weeks[0]).date()), (today - DAY).date()
    )
    waits = missing and not any(at <= now - DAY for at in made.values())
    wanted = {as_of for as_of in (*([] if waits else weeks), today) if not _has_any(made, as_of)}
    wanted |= {as_of for as_of in (today, coming) if as_of in made and _came_later(arrivals, made[as_of], as_of, now)}
    due = {as_of: known for as_of in sorted(wanted) if (known := _known(arrivals, symbols, as_of))}
    at_once = bool(due)
    if coming not in due and (without := uncalibrated(database, symbols, coming)):
        due[coming] = tuple(without)
    return DueCalibrations(due, none_known=not any(as_of <= today for as_of in made), at_once=at_once)


def uncalibrated(database: Database, symbols: Sequence[str], as_of: datetime) -> list[str]:
    """Return those of `symbols` without a calibration of `as_of`, although they have quotes to make it from."""
    stored = stored_documents(database, as_of, DETECTOR_VERSION)
    missing = [symbol for symbol in symbols if symbol not in stored]
    return symbols_with_prices(database, missing, _calibrated_from(as_of), as_of)


def calibrate_due(
    database: Database, symbols: Sequence[str], now: datetime, *, missing: bool = False
) -> CalibrationResult:
    """Make the calibrations that are due at `now` (see `due_calibrations`); return that of the coming midnight.

    Raises ValueError if a stored calibration cannot be read.
    """
    coming = next_as_of(now)
    new: tuple[str, ...] = ()
    for as_of, due in due_calibrations(database, symbols, now, missing=missing).symbols.items():
        stored = _calibrate(database, symbols, due, as_of, now)
        new = stored if as_of == coming else new
    documents = stored_documents(database, coming, DETECTOR_VERSION)
    parts = [Calibration.from_json(documents[symbol]) for symbol in symbols if symbol in documents]
    without_quotes = tuple(symbol for symbol in symbols if symbol not in documents)
    return CalibrationResult(coming, Calibration.joined(parts) if parts else None, new, without_quotes)


def _weeks(today: datetime) -> list[datetime]:
    """Return the Mondays up to `today` that begin the weeks of the days scored without a person."""
    first = today - (DAYS_SCORED - 1) * DAY
    monday = first - first.weekday() * DAY
    return [monday + n * _WEEK for n in range((today - monday) // _WEEK + 1)]


def _has_any(made: Iterable[datetime], as_of: datetime) -> bool:
    """Return whether one of the as-of times `made` is of the week that ends at `as_of`."""
    return any(as_of - _WEEK < other <= as_of for other in made)


def _came_later(arrivals: Mapping[DayOfSymbol, datetime], made_at: datetime, as_of: datetime, now: datetime) -> bool:
    """Return whether prices of days before yesterday arrived after a calibration of `as_of` was made.

    Yesterday is completed every night.
    """
    first, yesterday = _remembered_from(as_of).date(), now.date() - DAY
    return any(first <= day < yesterday and made_at < at <= now for (day, _), at in arrivals.items())


def _known(arrivals: Iterable[DayOfSymbol], symbols: Sequence[str], as_of: datetime) -> tuple[str, ...]:
    """Return those of `symbols` with prices to calibrate from as of `as_of`."""
    first = _calibrated_from(as_of).date()
    found = {symbol for day, symbol in arrivals if first <= day < as_of.date()}
    return tuple(symbol for symbol in symbols if symbol in found)


def _calibrate(
    database: Database, symbols: Sequence[str], due: Sequence[str], as_of: datetime, now: datetime
) -> tuple[str, ...]:
    """Calibrate as of `as_of` from the quotes of all `symbols` and store it for those that are `due`.

    Return the symbols stored. Of a past day the first writer wins, as the day may have been scored with it.
    """
    first = _calibrated_from(as_of).date()
    earlier = peaks_before(database, symbols, first)
    calibration, peaks = calibrate_with_peaks(read_prices(database, symbols, first, as_of.date()), as_of, earlier)
    save_recent_peaks(database, peaks, as_of)
    documents = {symbol: calibration.of(symbol).to_json() for symbol in due}
    is_final = as_of < start_of_day(now.date())
    return save_calibrations(database, as_of, DETECTOR_VERSION, documents, now, replacing=not is_final)


def _calibrated_from(as_of: datetime) -> datetime:
    """Return the time of the first quote that a calibration of `as_of` may use."""
    return as_of - timedelta(days=PARAMETERS.calibration_days)


def _remembered_from(as_of: datetime) -> datetime:
    """Return the time of the first quote whose day may enter a calibration of `as_of`."""
    return as_of - timedelta(days=PARAMETERS.memory_days)
