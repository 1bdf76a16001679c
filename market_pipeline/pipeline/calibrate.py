"""Make the calibrations that are due, each once, from the stored prices of the days before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import without_noise
from market_pipeline.storage.queries.calibrations import (
    outdated_calibrations,
    save_calibrations,
    stored_documents,
    symbols_with_prices,
)
from market_pipeline.storage.rows.read import read_many_columns
from market_pipeline.storage.schema.tables import raw_prices

# After a change of the detectors the calibrations of these days are made again: those of the days that are scored
# again automatically, and one for the first of them.
MADE_AGAIN = timedelta(days=32)


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


def uncalibrated(
    database: Database, symbols: Sequence[str], as_of: datetime, detector_version: str
) -> list[str]:
    """Return those of `symbols` without a calibration of `as_of`, although they have quotes to make it from."""
    stored = stored_documents(database, as_of, detector_version)
    missing = [symbol for symbol in symbols if symbol not in stored]
    return symbols_with_prices(database, missing, _calibrated_from(as_of), as_of)


def calibrate_due(database: Database, symbols: Sequence[str], now: datetime) -> CalibrationResult:
    """Return the calibration of the coming midnight, made at `now` (aware) for the symbols that have none.

    After a change of the detectors the calibrations of the last days are made again too, each from the quotes before
    its own as-of time, so that these days are scored again with only what was known then. Raises ValueError if a stored
    calibration cannot be read.
    """
    coming = next_as_of(now)
    outdated = outdated_calibrations(database, now - MADE_AGAIN, DETECTOR_VERSION)
    for as_of, missing in outdated.items():
        if as_of < coming:
            _calibrate(database, symbols, missing, as_of, now)
    missing = uncalibrated(database, symbols, coming, DETECTOR_VERSION)
    new = _calibrate(database, symbols, missing, coming, now) if missing else ()
    documents = stored_documents(database, coming, DETECTOR_VERSION)
    parts = [Calibration.from_json(documents[symbol]) for symbol in symbols if symbol in documents]
    without_quotes = tuple(symbol for symbol in symbols if symbol not in documents)
    return CalibrationResult(coming, Calibration.joined(parts) if parts else None, new, without_quotes)


def _calibrate(
    database: Database, symbols: Sequence[str], missing: Sequence[str], as_of: datetime, now: datetime
) -> tuple[str, ...]:
    """Calibrate as of `as_of` from the quotes of all `symbols` and store it for those that are `missing`.

    Return the symbols stored: on a race the first writer wins.
    """
    slices = [Slice(symbol, _calibrated_from(as_of).date(), as_of.date() - DAY) for symbol in symbols]
    stored = read_many_columns(database, raw_prices, slices, ["symbol", "timestamp", "price"])
    prices = without_noise(database, stored)
    calibration = calibrate_columns(prices, as_of)
    documents = {symbol: calibration.of(symbol).to_json() for symbol in missing}
    return save_calibrations(database, as_of, DETECTOR_VERSION, documents, now)


def _calibrated_from(as_of: datetime) -> datetime:
    """Return the time of the first quote that a calibration of `as_of` may use."""
    return as_of - timedelta(days=PARAMETERS.calibration_days)
