"""Detection by the day: which detectors run, and the one way in which a day is scored.

A day is always scored from the same quotes, its own and those of the seven days before it, so its
rows do not depend on whether it is computed alone, in a range or again.
"""

from collections.abc import Iterable
from datetime import date, timedelta

import numpy as np

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detector import Detector
from market_pipeline.anomalies.ewma import EwmaScore
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.anomalies.two_point import TwoPointMove
from market_pipeline.clock import DAY, start_of_day
from market_pipeline.storage.columns import Columns

DETECTORS: tuple[Detector, ...] = (TwoPointMove(), EwmaScore())


def detect_day(series: PriceSeries, day: date) -> list[Anomaly]:
    """The anomalies whose quote lies in `day` (UTC), by time and then by detector.

    Reads the quotes of `day` and of the `LEAD_DAYS` days before it; others are ignored.
    """
    start = start_of_day(day)
    window = series.between(start - timedelta(days=LEAD_DAYS), start + DAY)
    found = [
        anomaly
        for detector in DETECTORS
        for anomaly in detector.detect(window)
        if anomaly.timestamp >= start
    ]
    return sorted(found, key=lambda anomaly: (anomaly.timestamp, anomaly.detector))


def detect_days(prices: Columns, partitions: Iterable[tuple[date, str]]) -> list[Anomaly]:
    """The anomalies of many (day, symbol) partitions, by symbol, time and detector.

    `prices` has the columns symbol, timestamp and price, sorted by symbol and timestamp, and should
    hold the `LEAD_DAYS` days before each day. A symbol without quotes has no anomalies. Raises
    ValueError if the rows are not sorted or a price is not above zero.
    """
    by_symbol = split_by_symbol(prices)
    return [
        anomaly
        for symbol, day in sorted({(symbol, day) for day, symbol in partitions})
        if symbol in by_symbol
        for anomaly in detect_day(by_symbol[symbol], day)
    ]


def split_by_symbol(prices: Columns) -> dict[str, PriceSeries]:
    """One series per symbol from rows sorted by symbol and timestamp.

    The order of the symbols themselves is free, because databases collate text differently.
    Raises ValueError if the rows of a symbol are not together or not in time order.
    """
    symbols = prices["symbol"]
    borders = np.flatnonzero(symbols[1:] != symbols[:-1]) + 1
    series: dict[str, PriceSeries] = {}
    for rows in np.split(np.arange(len(symbols)), borders) if len(symbols) else ():
        symbol = str(symbols[rows[0]])
        if symbol in series:
            raise ValueError(f"the rows of {symbol} are not together; sort by symbol and timestamp")
        chunk = slice(rows[0], rows[-1] + 1)
        series[symbol] = PriceSeries(symbol, prices["timestamp"][chunk], prices["price"][chunk])
    return series
