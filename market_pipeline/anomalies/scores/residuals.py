"""Residuals: what an exponentially weighted regression on the market leaves of a coin's moves, and its scale."""

import math
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.predictive import log10_tail
from market_pipeline.anomalies.series import Floats

# Uncertainty of a residual's scale, as the variance of its logarithm.
_SCALE_VARIANCE = 0.05


@dataclass(frozen=True)
class Residuals:
    """`beta`, the residual in its own standard deviations, and its -log10 p."""

    beta: Floats
    z: Floats
    score: Floats


def residuals(own_z: Floats, market_z: Floats, minutes: Floats) -> Residuals:
    """Regress standardised moves on the market's; NaN where the market is unknown.

    `minutes` is the time that each move took; an unchanged quote is no move.
    """
    numbers = (
        -math.log(2) / PARAMETERS.beta_half_life,
        -math.log(2) / PARAMETERS.residual_half_life,
        PARAMETERS.beta_truncation,
        PARAMETERS.beta_prior,
        PARAMETERS.beta_prior_weight,
        PARAMETERS.residual_variance,
        PARAMETERS.residual_truncation**2,
    )
    beta, residual, scale = run(_regress, (own_z, market_z, minutes), numbers, outputs=3)
    known = np.isfinite(market_z)
    z = np.where(known, residual / scale, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.log(np.abs(z))
    score = log10_tail(np.where(known, u, -np.inf), np.full(len(z), _SCALE_VARIANCE))
    return Residuals(np.where(known, beta, np.nan), z, np.where(known & (own_z != 0), score, 0.0))


def _regress(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    own, market, minutes = rows
    beta_rate, scale_rate, truncation, prior, prior_weight, variance, outlier = numbers
    betas, residuals_, scales = out
    cross = square = 0.0
    last = -1.0
    decay = weight = 0.0
    for i in range(len(own)):
        passed = minutes[i]
        if passed != last:
            last = passed
            decay = math.exp(beta_rate * passed)
            weight = 1.0 - math.exp(scale_rate * passed)
        beta = (cross + prior * prior_weight) / (square + prior_weight)
        betas[i] = beta
        scales[i] = math.sqrt(variance)
        f = market[i]
        z = own[i]
        if f != f or z == 0.0:
            continue
        residual = z - beta * f
        residuals_[i] = residual
        z = min(max(z, -truncation), truncation)
        f = min(max(f, -truncation), truncation)
        cross = cross * decay + z * f
        square = square * decay + f * f
        residual *= residual
        if residual > outlier * variance:
            residual = outlier * variance
        variance += weight * (residual - variance)
