"""The moves of one coin against its own volatility: the first half of its scores, which needs no other coin."""

import math
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.calibration import Calibration, CoinCalibration
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores import hours
from market_pipeline.anomalies.scores.market import CoinPath, path_of
from market_pipeline.anomalies.scores.returns import Returns, returns_of
from market_pipeline.anomalies.scores.volatility_filter import Filtered, filter_volatility
from market_pipeline.anomalies.series import Floats, PriceSeries


@dataclass(frozen=True, eq=False)
class CoinMoves:
    """What was expected of each quote, and what it did.

    `square` is the mean squared hour factor of the interval, `per_minute` the volatility per square root of a minute
    without the hour factor, `deviation` the standard deviation of the log return over the interval and `z` the return
    in it. `path` is how other coins see this one.
    """

    returns: Returns
    square: Floats
    filtered: Filtered
    per_minute: Floats
    deviation: Floats
    z: Floats
    path: CoinPath

    @property
    def annual(self) -> Floats:
        """The volatility per year (0.6 is 60%), without the hour factor."""
        volatility: Floats = self.per_minute * math.sqrt(MINUTES_PER_YEAR)
        return volatility


def coin_moves(series: PriceSeries, calibration: Calibration | None) -> CoinMoves:
    """Filter a series; hour factors and level come from the calibration, or from the series' own past."""
    returns = returns_of(series)
    square = _mean_squares(returns, calibration)
    log_scale = 0.5 * np.log(square * returns.elapsed)
    with np.errstate(divide="ignore"):
        log_size = np.log(np.abs(returns.log_return))
    log_size[~(returns.fresh & (returns.before >= 0))] = np.nan
    known = calibration.coins.get(series.symbol) if calibration is not None else None
    level, slow = _level(known), known.slow if known else None
    filtered = filter_volatility(log_size, log_scale, returns.coarse_step, returns.step, *level, slow)
    steps = filtered.volatility**2 * square * returns.step
    # What rounding adds to the variance of a return.
    coarse = np.flatnonzero(returns.coarse_step)
    diffusion = filtered.volatility[coarse] ** 2 * square[coarse] * returns.elapsed[coarse]
    steps[coarse] += np.where(returns.fresh[coarse], filtered.deviation[coarse] ** 2 - diffusion, 0.0)
    return CoinMoves(
        returns=returns,
        square=square,
        filtered=filtered,
        per_minute=filtered.volatility,
        deviation=filtered.deviation,
        z=returns.log_return / filtered.deviation,
        path=path_of(returns, steps),
    )


def _mean_squares(returns: Returns, calibration: Calibration | None) -> Floats:
    if not len(returns.minutes):
        return np.empty(0)
    if calibration is not None:
        return hours.mean_squares(returns, np.array([calibration.hours]), 0)
    sums = hours.hour_sums(returns)
    return hours.mean_squares(returns, hours.running_factors(sums), sums.first_day)


def _level(known: CoinCalibration | None) -> tuple[float, float]:
    """Return the log volatility expected before the first quote, and its standard deviation."""
    settings = PARAMETERS.filter
    if known is not None:
        return known.level, settings.calibrated_level_deviation
    return math.log(settings.annual_volatility / math.sqrt(MINUTES_PER_YEAR)), settings.level_deviation
