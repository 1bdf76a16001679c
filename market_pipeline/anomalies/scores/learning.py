"""Making a calibration: what the quotes of the last 90 days say is usual."""

import math
from collections.abc import Mapping
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.calibration import ALL, Calibration, CoinCalibration, tail_key
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.hours import HOURS, factors, hour_sums
from market_pipeline.anomalies.scores.returns import FIRST, STALE, WARM_UP, Floats, returns_of
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import SCORES, Tail, fit
from market_pipeline.anomalies.series import PriceSeries, rows_by_symbol, to_datetime64
from market_pipeline.core.columns import Columns

_QUANTILES = np.linspace(0, 1, 21)
_DAY = np.timedelta64(1, "D")
# The filter and beta settle in this time; the scores before it are left out of the tails.
_SETTLING = np.timedelta64(3, "D")


def calibrate_columns(prices: Columns, as_of: datetime) -> Calibration:
    """What is usual at `as_of` (aware), from the quotes (symbol, timestamp, price) of the 90 days before it.

    Others are ignored. The rows of each symbol must be in time order; ValueError says where they are not.
    A coin without quotes, or with too few for tails of its own, is left out there; without any quotes the
    hours are 1 and there are no tails.
    """
    times = prices["timestamp"]
    start = to_datetime64(as_of - timedelta(days=PARAMETERS.calibration_days))
    past = prices.where((times >= start) & (times < to_datetime64(as_of)))
    known_hours = Calibration(as_of, _hours(past))
    scores = score_columns(past, known_hours)
    groups = rows_by_symbol(past["symbol"])
    coins = {symbol: _coin(scores, rows) for symbol, rows in groups.items()}
    return Calibration(as_of, known_hours.hours, coins, _tails(scores, groups))


def _hours(past: Columns) -> tuple[float, ...]:
    """The factors of all coins together: they wake and sleep with the same people."""
    sums = [
        hour_sums(returns_of(PriceSeries(symbol, past["timestamp"][rows], past["price"][rows])))
        for symbol, rows in rows_by_symbol(past["symbol"]).items()
    ]
    if not sums:
        return (1.0,) * HOURS
    days = max(int((each.counts.sum(axis=1) > 0).sum()) for each in sums)
    deviations = sum(each.deviations.sum(axis=0) for each in sums)
    counts = sum(each.counts.sum(axis=0) for each in sums)
    found = factors(np.array([deviations]), np.array([counts]), np.array([float(days)]))[0]
    return tuple(map(float, found))


def _coin(scores: Columns, rows: NDArray[np.intp]) -> CoinCalibration:
    annual, times = scores["volatility"][rows], scores["timestamp"][rows]
    return CoinCalibration(
        level=float(np.log(annual).mean() - 0.5 * math.log(MINUTES_PER_YEAR)),
        volatility_quantiles=tuple(np.quantile(annual, _QUANTILES).tolist()),
        quotes=len(rows),
        days=float((times[-1] - times[0]) / _DAY),
    )


def _tails(scores: Columns, groups: Mapping[str, NDArray[np.intp]]) -> dict[str, Tail]:
    """The tails of each coin and of all together, for short and long intervals."""
    tails: dict[str, Tail] = {}
    pooled: dict[tuple[str, str], list[Floats]] = {}
    for symbol, rows in groups.items():
        for (score, interval), values in _usable(scores, rows).items():
            pooled.setdefault((score, interval), []).append(values)
            if tail := fit(values, PARAMETERS.coin_tail_scores):
                tails[tail_key(symbol, score, interval)] = tail
    for (score, interval), pieces in pooled.items():
        if tail := fit(np.concatenate(pieces), PARAMETERS.tail_scores):
            tails[tail_key(ALL, score, interval)] = tail
    return tails


def _usable(scores: Columns, rows: NDArray[np.intp]) -> dict[tuple[str, str], Floats]:
    """The scores that count, by name and length of interval; none if they do not span enough days."""
    times = scores["timestamp"][rows]
    if (times[-1] - times[0]) / _DAY < PARAMETERS.tail_days - 1:
        return {}
    quality = scores["quality"][rows]
    known = np.array([not {FIRST, STALE, WARM_UP} & set(text.split(",")) for text in np.unique(quality)])
    good = known[np.unique(quality, return_inverse=True)[1]] & (times >= times[0] + _SETTLING)
    long = scores["elapsed_seconds"][rows] > 60 * PARAMETERS.long_interval
    market = np.isfinite(scores["market_z"][rows])
    found = {}
    for name in SCORES:
        values = scores[f"{name}_score"][rows]
        usable = good & market if name in ("market", "residual") else good
        found[name, "short"] = values[usable & ~long]
        found[name, "long"] = values[usable & long]
    return found
