"""The limits: what a detector could reach if it knew the volatility, and if it knew the world's law.

The oracle knows the true standard deviation of every interval; only hindsight comes near it. The Bayes
filter knows the law of the world but must learn the volatility from the prices so far: no causal detector
that sees one price series can be better. It is a bootstrap particle filter (Gordon, Salmond & Smith 1993).
"""

import math

import numpy as np

from benchmarks.anomalies.particle_filter import surprises
from benchmarks.anomalies.volatility import FACTOR_HALF_LIVES, FACTOR_SDS, MEDIAN_SIGMA, Floats, hour_factor
from benchmarks.anomalies.worlds import JUMP_SIZES, QUOTES_PER_JUMP, Series, pieces

PARTICLES = 1_000
_SHOCKS = 1 << 18


def oracle(series: Series, prices: Floats) -> Floats:
    """Returns since the last fresh quote in true standard deviations of their interval; repeats score 0."""
    scores: Floats = np.abs(_fresh_returns(series, prices)) / np.maximum(series.sigma, 1e-12)
    return scores


def bayes(series: Series, prices: Floats, seed: int = 1) -> Floats:
    """-log10 of the two-sided predictive p-value of each return under the world's own law.

    A repeated quote scores 0 and teaches nothing; the variance of its interval is carried to the next
    changed one. Jumps are part of the law, so that one jump does not spoil what is known of volatility.
    """
    shocks = np.random.default_rng([seed, len(prices)]).standard_normal(_SHOCKS)
    lengths, ends = pieces(series.elapsed)
    returns, taught = np.zeros(len(lengths)), np.zeros(len(lengths), dtype=np.bool_)
    returns[ends] = _fresh_returns(series, prices)
    taught[ends[1:]] = np.diff(prices) != 0
    scale = hour_factor(np.cumsum(lengths) - lengths / 2) ** 2 * lengths
    keeps = 0.5 ** (lengths[:, None] / np.array(FACTOR_HALF_LIVES))
    mean_square = float(np.mean(np.square(JUMP_SIZES)))
    nodes, masses = np.polynomial.hermite_e.hermegauss(9)
    scores: Floats = surprises(
        returns, ~taught, scale, keeps, series.noise, shocks,
        np.array(FACTOR_SDS), math.log(MEDIAN_SIGMA), 1 / QUOTES_PER_JUMP, mean_square, PARTICLES,
        nodes, masses / masses.sum(),
    )
    return scores[ends]


def _fresh_returns(series: Series, prices: Floats) -> Floats:
    """Log returns of the quotes; those of repeated quotes are 0, as the price shown did not change."""
    return np.diff(np.log(prices), prepend=math.log(prices[0]))
