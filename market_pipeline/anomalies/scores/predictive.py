"""What one return implies when log volatility is N(m, v): posterior moments and tail probability.

They depend on two numbers only, u = log(abs(r)) - m and v, so they are computed once on a grid (Gauss-Hermite
quadrature) and looked up: exact to three digits at a tenth of the cost.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.series import Floats


@dataclass(frozen=True)
class Grid:
    """u from `lowest` in steps of `step`; the standard deviation of log volatility from 0."""

    lowest: float = -5.0
    step: float = 0.125
    columns: int = 96
    deviation_step: float = 0.05
    rows: int = 36


GRID = Grid()
_NODES = 15
# For extreme returns only the last node has weight and the variance vanishes; by exact integration it stays above this.
_LEAST_SHARE = 0.07
# Highest power first.
_ERFC = (
    0.17087277, -0.82215223, 1.48851587, -1.13520398, 0.27886807, -0.18628806, 0.09678418, 0.37409196,
    1.00002368, -1.26551223,
)


@lru_cache
def filter_tables() -> tuple[Floats, Floats, Floats]:
    """Return three flat tables by grid row and column.

    They are the shift of the mean of log volatility, the remaining share of its variance, and log(-log10 p), which is
    nearly linear between grid points. The return is N(0, s2) or, with probability q, N(0, J^2 s2); p is that of an
    ordinary one.
    """
    return (*_posterior(), _tail_table())


def _posterior() -> tuple[Floats, Floats]:
    deviations, log_z, weights = _quadrature()
    outliers, scale = PARAMETERS.filter.outliers, PARAMETERS.filter.outlier_scale
    with np.errstate(over="ignore"):
        half_square = np.exp(2 * log_z) / 2
    log_likelihood = np.logaddexp(
        math.log(1 - outliers) - half_square - deviations,
        math.log(outliers / scale) - half_square / scale**2 - deviations,
    )
    log_likelihood -= log_likelihood.max(axis=-1, keepdims=True)
    posterior = weights * np.exp(log_likelihood)
    posterior /= posterior.sum(axis=-1, keepdims=True)
    shift = (posterior * deviations).sum(axis=-1)
    spread = (posterior * deviations**2).sum(axis=-1) - shift**2
    prior = np.maximum((GRID.deviation_step * np.arange(GRID.rows)) ** 2, 1e-12)[:, None]
    share = np.where(prior > 1e-9, np.maximum(spread / prior, _LEAST_SHARE), 1.0)
    return shift.ravel(), share.ravel()


def log10_tail(u: Floats, variance: Floats) -> Floats:
    """Return -log10 of the two-sided probability of a larger ordinary (not outlying) return.

    `u` is log(abs(r)) minus the mean of its log standard deviation, `variance` that of the latter.
    """
    x = np.clip((u - GRID.lowest) / GRID.step, 0.0, GRID.columns - 1.001)
    w = np.minimum(np.sqrt(variance) / GRID.deviation_step, GRID.rows - 1.001)
    column, row = x.astype(np.intp), w.astype(np.intp)
    x -= column
    w -= row
    table = _tail_table()
    at = row * GRID.columns + column
    upper = table[at] + x * (table[at + 1] - table[at])
    at += GRID.columns
    lower = table[at] + x * (table[at + 1] - table[at])
    scores: Floats = np.exp(upper + w * (lower - upper))
    return scores


@lru_cache
def _tail_table() -> Floats:
    _, log_z, weights = _quadrature()
    log_tails = log_erfc(np.exp(np.minimum(log_z, 300.0)) / math.sqrt(2))
    largest = log_tails.max(axis=-1, keepdims=True)
    log_p = np.log((weights * np.exp(log_tails - largest)).sum(axis=-1)) + largest[..., 0]
    table: Floats = np.log(np.maximum(-log_p, 1e-12) / math.log(10)).ravel()
    return table


def _quadrature() -> tuple[Floats, Floats, Floats]:
    """Return deviations of log volatility from its mean (rows, 1, nodes), log(abs(z)) there, and weights."""
    nodes, weights = gauss_hermite()
    spread = GRID.deviation_step * np.arange(GRID.rows)
    deviations = spread[:, None, None] * nodes
    u = GRID.lowest + GRID.step * np.arange(GRID.columns)
    return deviations, u[:, None] - deviations, weights


def gauss_hermite() -> tuple[Floats, Floats]:
    """Return nodes and weights of a mean over N(0, 1), from the eigenvalues of the Jacobi matrix (Golub & Welsch 1969).

    Importing numpy.polynomial takes longer than this takes to compute.
    """
    off = np.sqrt(np.arange(1.0, _NODES))
    nodes, vectors = np.linalg.eigh(np.diag(off, 1) + np.diag(off, -1))
    return nodes, vectors[0] ** 2


def log_erfc(z: Floats) -> Floats:
    """Return log(erfc(z)) for z >= 0, relative error 1.2e-7: Press et al., Numerical Recipes, 1992, 6.2."""
    t = 1 / (1 + z / 2)
    series = np.zeros_like(t)
    for coefficient in _ERFC:
        series = series * t + coefficient
    logs: Floats = np.log(t) - z * z + series
    return logs
