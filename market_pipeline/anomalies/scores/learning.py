"""Learn a calibration from the quotes of the last 90 days."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.calibration import ALL_COINS, Calibration, CoinCalibration, tail_key
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.hours import HOURS, factors, hour_sums
from market_pipeline.anomalies.scores.returns import FIRST, STALE, WARM_UP, returns_of
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import SCORES, Tail, fit
from market_pipeline.anomalies.series import Floats, PriceSeries, rows_by_symbol
from market_pipeline.core.columns import Columns

_QUANTILES = np.linspace(0, 1, 21)
_DAY = np.timedelta64(1, "D")
# The filter and beta settle in this time; the scores before it do not enter the tails.
_SETTLING = np.timedelta64(3, "D")


def calibrate_columns(prices: Columns, as_of: datetime) -> Calibration:
    """Calibrate as of `as_of` (aware) from the quotes (symbol, timestamp, price) of the 90 days before it.

    Other quotes are ignored. The rows of each symbol must be in time order, else ValueError. Coins without quotes are
    left out, coins with too few have no tails of their own; without any quotes the hours are 1 and there are no tails.
    """
    past = prices.between(as_of - timedelta(days=PARAMETERS.calibration_days), as_of)
    known_hours = Calibration(as_of, _hours(past))
    scores = score_columns(past, known_hours)
    groups = rows_by_symbol(past["symbol"])
    coins = {symbol: _coin(scores, rows) for symbol, rows in groups.items()}
    return Calibration(as_of, known_hours.hours, coins, _tails(scores, groups))


def _hours(past: Columns) -> tuple[float, ...]:
    """Return the factors of all coins pooled: the same traders give them the same daily rhythm."""
    sums = [
        hour_sums(returns_of(PriceSeries(symbol, past["timestamp"][rows], past["price"][rows])))
        for symbol, rows in rows_by_symbol(past["symbol"]).items()
    ]
    if not sums:
        return (1.0,) * HOURS
    days = max(int((each.counts.sum(axis=1) > 0).sum()) for each in sums)
    deviations = sum(each.deviations.sum(axis=0) for each in sums)
    counts = sum(each.counts.sum(axis=0) for each in sums)
    pooled = factors(np.array([deviations]), np.array([counts]), np.array([float(days)]))[0]
    return tuple(map(float, pooled))


def _coin(scores: Columns, rows: NDArray[np.intp]) -> CoinCalibration:
    annual, times = scores["volatility"][rows], scores["timestamp"][rows]
    return CoinCalibration(
        level=float(np.log(annual).mean() - 0.5 * math.log(MINUTES_PER_YEAR)),
        volatility_quantiles=tuple(np.quantile(annual, _QUANTILES).tolist()),
        quotes=len(rows),
        days=float((times[-1] - times[0]) / _DAY),
    )


def _tails(scores: Columns, groups: Mapping[str, NDArray[np.intp]]) -> dict[str, Tail]:
    """Fit the tails of each coin and of all coins pooled, for short and long intervals."""
    tails: dict[str, Tail] = {}
    pooled: dict[tuple[str, str], list[Floats]] = {}
    for symbol, rows in groups.items():
        for (score, interval), values in _usable(scores, rows).items():
            pooled.setdefault((score, interval), []).append(values)
            if tail := fit(values, PARAMETERS.coin_tail_scores):
                tails[tail_key(symbol, score, interval)] = tail
    for (score, interval), pieces in pooled.items():
        if tail := fit(np.concatenate(pieces), PARAMETERS.tail_scores):
            tails[tail_key(ALL_COINS, score, interval)] = tail
    return tails


def _usable(scores: Columns, rows: NDArray[np.intp]) -> dict[tuple[str, str], Floats]:
    """Return the scores of settled quotes, by name and length of interval; none if they span too few days."""
    times = scores["timestamp"][rows]
    if (times[-1] - times[0]) / _DAY < PARAMETERS.tail_days - 1:
        return {}
    qualities, inverse = np.unique(scores["quality"][rows], return_inverse=True)
    settled = np.array([not {FIRST, STALE, WARM_UP} & set(text.split(",")) for text in qualities])
    good = settled[inverse] & (times >= times[0] + _SETTLING)
    long = scores["elapsed_seconds"][rows] > 60 * PARAMETERS.long_interval
    peers = np.isfinite(scores["residual_z"][rows])
    usable = {}
    for name in SCORES:
        values = scores[f"{name}_score"][rows]
        known = good & peers if name in ("market", "residual") else good
        usable[name, "short"] = values[known & ~long]
        usable[name, "long"] = values[known & long]
    return usable
