"""For which days and symbols a calibration is made, and which are made again."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.clock import DAY, start_of_day
from market_pipeline.storage.calibrations import quoted, stored_documents
from market_pipeline.storage.engine import Database

# After a change of the detectors the calibrations of these days are made again for the new ones: of the
# days that are scored again by themselves, and one for the first of them.
MADE_AGAIN = timedelta(days=32)


def next_as_of(now: datetime) -> datetime:
    """The as-of time of a calibration made at `now` (aware UTC): the coming midnight, UTC."""
    return start_of_day(now.date() + DAY)


def calibrated_from(as_of: datetime) -> datetime:
    """The time of the first quote that a calibration of `as_of` may use."""
    return as_of - timedelta(days=PARAMETERS.calibration_days)


def uncalibrated(
    database: Database, symbols: Sequence[str], as_of: datetime, detector_version: str
) -> list[str]:
    """Those of `symbols` without a calibration of `as_of`, though they have quotes to make it from."""
    stored = stored_documents(database, as_of, detector_version)
    missing = [symbol for symbol in symbols if symbol not in stored]
    return quoted(database, missing, calibrated_from(as_of), as_of)
