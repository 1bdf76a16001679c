"""Series for the tests of detection: built by hand, simulated, or real."""

import csv
import gzip
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.storage.columns import Columns

START = datetime(2023, 6, 1, tzinfo=timezone.utc)
REAL_PRICES = Path(__file__).parents[2].parent / "shared" / "prices" / "2022-11_5min.csv.gz"

SeriesFactory = Callable[..., PriceSeries]


@pytest.fixture
def series() -> SeriesFactory:
    """Builds a series from prices and the seconds of each quote after 2023-06-01 00:00 UTC."""

    def build(prices: Sequence[float], seconds: Sequence[float], symbol: str = "BTC") -> PriceSeries:
        start = np.datetime64(START.replace(tzinfo=None), "us")
        offsets = np.round(np.array(seconds) * 1e6).astype("timedelta64[us]")
        return PriceSeries(symbol, start + offsets, np.array(prices, dtype=np.float64))

    return build


@pytest.fixture
def walk(series: SeriesFactory) -> SeriesFactory:
    """Builds a random walk of constant volatility, 60 % a year, quoted at the given seconds."""

    def build(seconds: Sequence[float], seed: int = 1, symbol: str = "BTC") -> PriceSeries:
        per_root_second = 0.6 / np.sqrt(365 * 86_400)
        steps = np.random.default_rng(seed).standard_normal(len(seconds) - 1)
        returns = per_root_second * np.sqrt(np.diff(np.array(seconds, dtype=np.float64))) * steps
        return series(100 * np.exp(np.concatenate([[0], np.cumsum(returns)])), seconds, symbol)

    return build


@pytest.fixture
def as_columns() -> Callable[..., Columns]:
    """Turns series into the rows that detection and the chart read."""

    def build(*many: PriceSeries) -> Columns:
        symbols = [np.full(len(series), series.symbol, dtype=object) for series in many]
        return Columns(
            {
                "symbol": np.concatenate(symbols),
                "timestamp": np.concatenate([series.timestamps for series in many]),
                "price": np.concatenate([series.prices for series in many]),
            }
        )

    return build


@pytest.fixture(scope="session")
def real_prices() -> Columns:
    """Five coins, 2022-10-15 to 2022-11-25, every 5 minutes, sorted by symbol and time."""
    if not REAL_PRICES.exists():
        pytest.skip("real prices are not installed beside the project")
    with gzip.open(REAL_PRICES, "rt", newline="") as file:
        rows = sorted((row["symbol"], row["timestamp"], row["price"]) for row in csv.DictReader(file))
    symbols, timestamps, prices = zip(*rows, strict=True)
    return Columns(
        {
            "symbol": np.array(symbols, dtype=object),
            "timestamp": np.array([text.removesuffix("Z") for text in timestamps], dtype="datetime64[us]"),
            "price": np.array(prices, dtype=np.float64),
        }
    )
