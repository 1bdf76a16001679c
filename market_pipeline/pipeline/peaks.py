"""The memory of calibrations: the daily peaks of the days whose quotes a calibration does not read.

A day is scored for it when its quotes come. So the cost of a calibration follows what is new, and not what is stored.
"""

from collections.abc import Iterator, Sequence, Set
from datetime import date, datetime, timedelta

import numpy as np

from market_pipeline.anomalies.parameters import DETECTOR_VERSION, PARAMETERS
from market_pipeline.anomalies.scores.daily_peaks import joined
from market_pipeline.anomalies.scores.learning import calibrate_with_peaks
from market_pipeline.anomalies.series import rows_by_symbol
from market_pipeline.core.clock import DAY, start_of_day
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice, merge_days
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import without_noise
from market_pipeline.storage.queries.calibrations import symbols_with_prices
from market_pipeline.storage.queries.coverage import first_days
from market_pipeline.storage.queries.daily_peaks import save_peaks, stored_peaks
from market_pipeline.storage.rows.read import read_many_columns
from market_pipeline.storage.schema.tables import raw_prices

# The scores of a day need the quotes of some days before it.
_LEAD = timedelta(days=14)
# Days are read in stretches of this length, so that memory stays bounded.
_STRETCH = timedelta(days=90)


def read_prices(database: Database, symbols: Sequence[str], first: date, end: date) -> Columns:
    """Return the quotes that baselines are learned from, from `first` up to the day before `end`."""
    slices = [Slice(symbol, first, end - DAY) for symbol in symbols]
    return without_noise(database, read_many_columns(database, raw_prices, slices, ["symbol", "timestamp", "price"]))


def peaks_before(database: Database, symbols: Sequence[str], end: date) -> Columns:
    """Return the daily peaks that a calibration remembers beside its quotes, the first of which are of the day `end`.

    Compute and store those that are missing.
    """
    first = end - timedelta(days=PARAMETERS.memory_days - PARAMETERS.calibration_days)
    known = stored_peaks(database, symbols, first, end - DAY, DETECTOR_VERSION)
    starts = first_days(database, symbols)
    for start, stop in _stretches(first, end):
        days = known["day"].tolist()
        seen = {symbol: {days[row] for row in rows} for symbol, rows in rows_by_symbol(known["symbol"]).items()}
        begins = {symbol: max(start, day) for symbol, day in starts.items()}
        if any(_lacks_peaks(database, seen.get(name, set()), name, day, stop) for name, day in begins.items()):
            prices = read_prices(database, symbols, start - _LEAD, stop)
            peaks = calibrate_with_peaks(prices, start_of_day(stop))[1]
            new = peaks.where(peaks["day"] >= np.datetime64(start))
            save_peaks(database, new, DETECTOR_VERSION)
            # Those of all coins: the market is known only with their prices.
            known = known.where((known["day"] < np.datetime64(start)) | (known["day"] >= np.datetime64(stop)))
            known = joined([known, new])
    return known


def save_recent_peaks(database: Database, peaks: Columns, as_of: datetime) -> None:
    """Store the peaks of the days that ended at least a day before `as_of`: the last one may not be over yet.

    The first days are scored with few quotes before them; their peaks are known better from earlier calibrations.
    """
    if len(peaks):
        settled = peaks["day"] >= peaks["day"].min() + np.timedelta64(_LEAD)
        over = peaks["day"] < np.datetime64(as_of.date() - DAY)
        save_peaks(database, peaks.where(settled & over), DETECTOR_VERSION)


def _stretches(first: date, end: date) -> Iterator[tuple[date, date]]:
    """Yield the stretches from `first` to `end`, the last one first."""
    while first < end:
        start = max(first, end - _STRETCH)
        yield start, end
        end = start


def _lacks_peaks(database: Database, seen: Set[date], symbol: str, first: date, end: date) -> bool:
    """Return whether a day from `first` on and before `end` has prices and is not one of `seen`, which have peaks."""
    days = [first + number * DAY for number in range((end - first).days)]
    without = [(day, symbol) for day in days if day not in seen]
    return any(
        symbols_with_prices(database, [symbol], part.start, part.end) for part in merge_days(without)
    )
