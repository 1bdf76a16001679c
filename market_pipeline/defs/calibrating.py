"""Making the calibration of an as-of time, once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.learning import calibrate_columns
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.clock import DAY
from market_pipeline.slices import Slice
from market_pipeline.storage.calibrations import save, stored_document
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


def calibrate_for(database: Database, symbols: Sequence[str], as_of: datetime, now: datetime) -> Made:
    """Calibrate from the quotes of the days before `as_of` (aware), unless that has been done.

    Raises ValueError if the stored calibration cannot be read.
    """
    document = stored_document(database, as_of, DETECTOR_VERSION)
    if document is not None:
        return Made(as_of, Calibration.from_json(document), new=False)
    prices = _prices_before(database, symbols, as_of)
    if not len(prices):
        return Made(as_of, None, new=False)
    calibration = calibrate_columns(prices, as_of)
    new = save(database, as_of, DETECTOR_VERSION, calibration.to_json(), now)
    if not new:
        return calibrate_for(database, symbols, as_of, now)
    return Made(as_of, calibration, new=True)


def _prices_before(database: Database, symbols: Sequence[str], as_of: datetime) -> Columns:
    """The quotes of all `symbols` in the days from which is calibrated, by symbol and time."""
    first = (as_of - timedelta(days=PARAMETERS.calibration_days)).date()
    slices = [Slice(symbol, first, as_of.date() - DAY) for symbol in symbols]
    names = ["symbol", "timestamp", "price"]
    return columns_of_frame(raw_prices, read_frame(database, raw_prices, slices, names))
