"""Quotes for the tests of detection: built by hand or simulated; their times count from `START`."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR
from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns, to_datetime64

START = datetime(2023, 6, 1, tzinfo=timezone.utc)
# 60% a year.
PER_ROOT_SECOND = 0.6 / np.sqrt(MINUTES_PER_YEAR * 60)

Numbers = Sequence[float] | NDArray[Any]


def series(prices: Numbers, seconds: Numbers, symbol: str = "BTC") -> PriceSeries:
    """A series from prices and the seconds of each quote after START."""
    offsets = np.round(np.array(seconds) * 1e6).astype("timedelta64[us]")
    return PriceSeries(symbol, to_datetime64(START) + offsets, np.array(prices, dtype=np.float64))


def walk(seconds: Numbers, seed: int = 1, symbol: str = "BTC") -> PriceSeries:
    """A random walk of 60% a year, quoted at the given seconds."""
    steps = np.random.default_rng(seed).standard_normal(len(seconds) - 1)
    returns = PER_ROOT_SECOND * np.sqrt(np.diff(np.array(seconds, dtype=np.float64))) * steps
    return series(100 * np.exp(np.concatenate([[0], np.cumsum(returns)])), seconds, symbol)


def as_columns(*many: PriceSeries) -> Columns:
    """Series as the rows that detection reads."""
    return Columns(
        {
            "symbol": np.concatenate([np.full(len(each), each.symbol, dtype=object) for each in many]),
            "timestamp": np.concatenate([each.timestamps for each in many]),
            "price": np.concatenate([each.prices for each in many]),
        }
    )


def scores_of(*many: PriceSeries, **values: Mapping[int, Any]) -> Columns:
    """Quiet scores written by hand: volatility 60% a year, nothing surprising.

    Other values are given by column and row number: `jump_p={5: 1e-6}`.
    """
    prices = as_columns(*many)
    size = len(prices)
    parts = [returns_of(each) for each in many]
    joined = {
        name: np.concatenate([getattr(part, name) for part in parts])
        for name in ("log_return", "elapsed", "fresh", "number")
    }
    firsts = np.cumsum([0, *(len(each) for each in many)])[:-1]
    before = np.concatenate(
        [np.where(part.before < 0, -1, part.before + first) for part, first in zip(parts, firsts, strict=True)]
    )
    seconds = joined["elapsed"] * 60
    deviation = PER_ROOT_SECOND * np.sqrt(seconds)
    z = joined["log_return"] / deviation
    arrays = {
        **prices.arrays,
        "before": before,
        "log_return": joined["log_return"],
        "elapsed_seconds": seconds,
        "stale_minutes": np.where(joined["fresh"], 0.0, joined["elapsed"]),
        "quotes_used": joined["number"].astype(float),
        "coarse_step": np.zeros(size),
        "jump_score": np.full(size, 0.1),
        "expected_move": np.expm1(deviation),
        "z": z,
        "large_move_score": np.maximum(np.abs(z), 1e-3),
        "large_move_before": before.copy(),
        "large_move_horizon": joined["elapsed"].copy(),
        "market_horizon": joined["elapsed"].copy(),
        "market_direction": np.sign(joined["log_return"]),
        "slow_volatility": np.full(size, PER_ROOT_SECOND * np.sqrt(60)),
        **{name: np.full(size, 0.01) for name in ("large_move_days", "market_days")},
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


def world(seed: int, hours: int = 48) -> Columns:
    """Four coins that follow a market, with jumps, crashes, bad prints, outages and stale quotes.

    Their quotes come every five minutes or so, up to a minute apart from each other.
    """
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
        quoted = np.convolve(rng.random(size) < 0.003, np.ones(7), "same") == 0
        coins.append(series(np.round(prices, 2)[quoted], np.round(seconds[quoted], 3), symbol))
    return as_columns(*coins)


def to_datetime(moment: np.datetime64) -> datetime:
    """A UTC time of a column as an aware datetime."""
    naive: datetime = moment.astype("datetime64[us]").astype(object)
    return naive.replace(tzinfo=timezone.utc)
