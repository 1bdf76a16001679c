"""What a picture needs of the database."""

from collections.abc import Sequence
from datetime import datetime

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.anomalies.series import to_datetime64
from market_pipeline.charts.scores import lead_start, scored_span
from market_pipeline.slices import Slice
from market_pipeline.storage.calibrations import calibrations_for
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.read import read_columns
from market_pipeline.storage.tables import price_anomalies, raw_prices


def stored_scores(database: Database, symbols: Sequence[str], start: datetime, end: datetime) -> Columns:
    """The scores of the quotes of `symbols` from `start` to `end` (aware UTC, not included), as
    `scores.scored_span` gives them.

    Raises ValueError if a stored calibration cannot be read.
    """
    slices = [Slice(symbol, lead_start(start).date(), end.date()) for symbol in symbols]
    prices = read_columns(database, raw_prices, slices, ["symbol", "timestamp", "price"])
    known = calibrations_for(database, Slice("", start.date(), end.date()).days, DETECTOR_VERSION)
    return scored_span(prices, start, end, known.get)


def stored_anomalies(
    database: Database, symbol: str, symbols: Sequence[str], start: datetime, end: datetime
) -> Columns:
    """The flagged rows of `symbol` from `start` to `end` (aware UTC, not included), and the market moves of
    all `symbols` that may reach into that time: an event ends on the day on which it began."""
    slices = [Slice(each, start.date(), end.date()) for each in symbols]
    rows = read_columns(database, price_anomalies, slices)
    inside = (rows["timestamp"] >= to_datetime64(start)) & (rows["timestamp"] < to_datetime64(end))
    return rows.where((inside & (rows["symbol"] == symbol)) | (rows["kind"] == Kind.MARKET_MOVE.value))
