"""Series for the tests of detection: built by hand, simulated, or real."""

import csv
import gzip
from collections.abc import Callable, Sequence
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns

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


@pytest.fixture
def scores_of(as_columns) -> Callable[..., Columns]:
    """Turns series into quiet scores written by hand: volatility 60 % a year, nothing surprising.

    Other values are given by column and row number: `jump_p={5: 1e-6}`.
    """

    def build(*many: PriceSeries, **values: dict[int, object]) -> Columns:
        prices = as_columns(*many)
        size = len(prices)
        parts = [returns_of(each) for each in many]
        firsts = np.cumsum([0, *(len(each) for each in many)])[:-1]
        joined = {
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("log_return", "elapsed", "changed", "number")
        }
        before = np.concatenate(
            [
                np.where(part.before < 0, -1, part.before + first)
                for part, first in zip(parts, firsts, strict=True)
            ]
        )
        seconds = joined["elapsed"] * 60
        deviation = 0.6 / np.sqrt(365 * 86_400) * np.sqrt(seconds)
        z = joined["log_return"] / deviation
        arrays = {
            **prices.arrays,
            "before": before,
            "log_return": joined["log_return"],
            "elapsed_seconds": seconds,
            "stale_minutes": np.where(joined["changed"], 0.0, joined["elapsed"]),
            "quotes_used": joined["number"].astype(float),
            "jump_score": np.full(size, 0.1),
            "expected_move": np.expm1(deviation),
            "z": z,
            "large_move_score": np.maximum(np.abs(z), 1e-3),
            "large_move_before": before,
            "large_move_horizon": joined["elapsed"].copy(),
            **{name: np.full(size, 0.8) for name in ("jump_p", "large_move_p", "residual_p", "market_p")},
            **{name: np.full(size, 0.1) for name in ("residual_score", "market_score")},
            **{name: np.full(size, np.nan) for name in ("market_z", "beta", "residual_z", "market_share")},
            "peers_moved": np.zeros(size),
            "volatility": np.full(size, 0.6),
            "volatility_percentile": np.full(size, 50.0),
            "hour_factor": np.ones(size),
            "scope": np.full(size, "unknown", dtype=object),
            "quality": np.full(size, "", dtype=object),
            "calibration": np.full(size, "gpd", dtype=object),
        }
        for name, rows in values.items():
            for row, value in rows.items():
                arrays[name][row] = value
        return Columns(arrays)

    return build


@pytest.fixture
def world(series) -> Callable[..., list[PriceSeries]]:
    """Builds four coins that follow a market, with jumps, crashes, bad prints, outages and stale quotes.

    Their quotes come every five minutes or so, up to a minute apart from each other.
    """

    def build(seed: int, hours: int = 48) -> list[PriceSeries]:
        rng = np.random.default_rng(seed)
        size = hours * 12
        market = rng.standard_normal(size) * 0.001
        market[rng.random(size) < 0.006] -= 0.03
        coins = []
        for symbol in ("ADA", "BTC", "ETH", "SOL"):
            steps = market + rng.standard_normal(size) * 0.0007
            steps[rng.random(size) < 0.006] += 0.06
            prices = 100 * np.exp(np.cumsum(steps))
            prices[rng.random(size) < 0.004] *= 1.08
            stale = rng.random(size) < 0.05
            prices[1:][stale[1:]] = prices[:-1][stale[1:]]
            seconds = np.arange(size) * 300 + rng.uniform(0, 60, size)
            kept = np.convolve(rng.random(size) < 0.003, np.ones(7), "same") == 0
            coins.append(series(np.round(prices, 2)[kept], np.round(seconds[kept], 3), symbol))
        return coins

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
