"""Residuals: what an exponentially weighted regression on the market leaves of a coin's moves, and its scale."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.market import PeerMoves
from market_pipeline.anomalies.scores.predictive import GRID, log10_tail
from market_pipeline.anomalies.series import Floats

# Uncertainty of a residual's scale, as the variance of its logarithm.
_SCALE_VARIANCE = 0.05


@dataclass(frozen=True)
class Residuals:
    """`beta`, the residual in its own standard deviations, and its -log10 p."""

    beta: Floats
    z: Floats
    score: Floats


def residuals(own_z: Floats, peers: PeerMoves, minutes: Floats) -> Residuals:
    """Regress standardised moves on the market's; NaN where there are too few other coins for a market.

    Moves of the market do not reach all coins in one proportion, so residuals are wider when the others move: their
    variance is a moving average times 1 + the mean square of the others' moves. What the market did in the part of an
    interval for which the others have no quotes yet is unknown: its variance is added.
    `minutes` is the time that each move took; an unchanged quote is no move.
    """
    numbers = (
        *_decay(PARAMETERS.beta_half_life),
        *_decay(PARAMETERS.residual_fast),
        *_decay(PARAMETERS.residual_slow),
        PARAMETERS.beta_truncation,
        PARAMETERS.beta_prior,
        PARAMETERS.beta_prior_weight,
        PARAMETERS.residual_variance,
        PARAMETERS.residual_truncation**2,
    )
    market = peers.middle * peers.overlap
    width = 1.0 + PARAMETERS.residual_growth * peers.square
    unseen = 1.0 - np.minimum(peers.overlap, 1.0) ** 2
    beta, residual, scale = run(_regress, (own_z, market, width, unseen, minutes), numbers, outputs=3)
    known = np.isfinite(market)
    z = np.divide(residual, scale, out=np.full(len(scale), np.nan), where=known)
    moved = known & (own_z != 0)
    with np.errstate(divide="ignore"):
        score = _scores(np.log(np.abs(np.where(moved, z, 1.0))))
    return Residuals(np.where(known, beta, np.nan), z, np.where(moved, score, 0.0))


def _scores(log_sizes: Floats) -> Floats:
    """Return -log10 p of residuals whose sizes have these logarithms, interpolated."""
    x = np.clip((log_sizes - GRID.lowest) / GRID.step, 0.0, GRID.columns - 1.001)
    column = x.astype(np.intp)
    x -= column
    table = _log_scores()
    lower = table[column]
    scores: Floats = np.exp(lower + x * (table[column + 1] - lower))
    return scores


@lru_cache
def _log_scores() -> Floats:
    sizes: Floats = GRID.lowest + GRID.step * np.arange(GRID.columns, dtype=np.float64)
    return np.log(log10_tail(sizes, np.full(GRID.columns, _SCALE_VARIANCE)))


def _decay(half_life: tuple[float, float]) -> tuple[float, float]:
    """Return the rate of a decay per minute, and its floor: what one quote at least leaves."""
    minutes, quotes = half_life
    return -math.log(2) / minutes, 0.5 ** (1 / quotes)


def _regress(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    own, market, width, unseen, minutes = rows
    (
        beta_rate, beta_floor, fast_rate, fast_floor, slow_rate, slow_floor,
        truncation, prior, prior_weight, variance, outlier,
    ) = numbers  # fmt: skip
    betas, residuals_, scales = out
    cross = square = 0.0
    fast = slow = variance
    last = -1.0
    decay = fast_weight = slow_weight = 0.0
    for i in range(len(own)):
        passed = minutes[i]
        if passed != last:
            last = passed
            decay = max(math.exp(beta_rate * passed), beta_floor)
            fast_weight = 1.0 - max(math.exp(fast_rate * passed), fast_floor)
            slow_weight = 1.0 - max(math.exp(slow_rate * passed), slow_floor)
        betas[i] = beta = (cross + prior * prior_weight) / (square + prior_weight)
        f = market[i]
        z = own[i]
        if f != f:
            continue
        expected = variance * width[i] + beta * beta * unseen[i]
        scales[i] = math.sqrt(expected)
        if z == 0.0:
            continue
        residuals_[i] = residual = z - beta * f
        if not -truncation < z < truncation:
            z = truncation if z > 0.0 else -truncation
        if not -truncation < f < truncation:
            f = truncation if f > 0.0 else -truncation
        cross = cross * decay + z * f
        square = square * decay + f * f
        residual *= residual * variance / expected
        if residual > outlier * variance:
            residual = outlier * variance
        fast += fast_weight * (residual - fast)
        slow += slow_weight * (residual - slow)
        variance = math.sqrt(fast * slow)
