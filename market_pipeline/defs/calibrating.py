"""Making the calibrations that are due: each once, and from what was stored of the days before it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.clock import DAY
from market_pipeline.defs.calibration_times import MADE_AGAIN, next_as_of
from market_pipeline.slices import Slice
from market_pipeline.storage.calibrations import of_other_versions, save, stored_document
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.frames import columns_of_frame
from market_pipeline.storage.read import read_frame
from market_pipeline.storage.tables import raw_prices


@dataclass(frozen=True)
class Made:
    """The stored `calibration` of the time `as_of`, `new` if it was stored just now.

    None where there were no quotes to calibrate from: then nothing is stored.
    """

    as_of: datetime
    calibration: Calibration | None
    new: bool


def calibrate_due(database: Database, symbols: Sequence[str], now: datetime) -> Made:
    """The calibration of the coming midnight, made at `now` (aware) unless it is stored.

    After a change of the detectors those of the last days are made for the new ones too, each from the
    quotes before its own as-of time; so these days are scored again with as much as was known then.
    Raises ValueError if a stored calibration cannot be read.
    """
    for as_of in of_other_versions(database, now - MADE_AGAIN, DETECTOR_VERSION):
        if as_of < next_as_of(now):
            made = calibrate_columns(_prices_before(database, symbols, as_of), as_of)
            save(database, as_of, DETECTOR_VERSION, made.to_json(), now)
    return _calibrate(database, symbols, next_as_of(now), now)


def _calibrate(database: Database, symbols: Sequence[str], as_of: datetime, now: datetime) -> Made:
    """The calibration as of `as_of`, made unless it is stored; nobody who is quicker is overwritten."""
    if (document := stored_document(database, as_of, DETECTOR_VERSION)) is not None:
        return Made(as_of, Calibration.from_json(document), new=False)
    prices = _prices_before(database, symbols, as_of)
    if not len(prices):
        return Made(as_of, None, new=False)
    made = calibrate_columns(prices, as_of)
    if not save(database, as_of, DETECTOR_VERSION, made.to_json(), now):
        return _calibrate(database, symbols, as_of, now)
    return Made(as_of, made, new=True)


def _prices_before(database: Database, symbols: Sequence[str], as_of: datetime) -> Columns:
    """The quotes of all `symbols` in the days from which is calibrated, by symbol and time."""
    first = (as_of - timedelta(days=PARAMETERS.calibration_days)).date()
    slices = [Slice(symbol, first, as_of.date() - DAY) for symbol in symbols]
    names = ["symbol", "timestamp", "price"]
    return columns_of_frame(raw_prices, read_frame(database, raw_prices, slices, names))
