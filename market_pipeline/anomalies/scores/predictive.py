"""What one return implies when log volatility is N(m, v): posterior moments and tail probability.

They depend on two numbers only, u = log(abs(r)) - m and v, so they are computed once on a grid (Gauss-Hermite
quadrature) and looked up: exact to three digits at a tenth of the cost.

Where prices are rounded to steps as coarse as the returns, a return is a number n of steps. With E(c) the mean excess
of a normal number over c, a the standard deviation in steps and the first price anywhere within its step,

    P(at least n steps) = 2 a (E((n - 1) / a) - E(n / a)).

These depend on m - log(step), v and n.
"""

import math
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

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
# For a return of 0 to MOST_STEPS steps, by the log deviation in steps.
ROUNDED = Grid(lowest=-5.0, step=0.25, columns=33, deviation_step=0.1, rows=18)
MOST_STEPS = 8
_NODES = 15
# From this log deviation in steps on, the probability of a number of steps is that of the density.
_MANY_STEPS = 3.0
_FAR = 8.0
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
    deviations, u, _ = _quadrature(GRID)
    with np.errstate(over="ignore"):
        half_square = np.exp(2 * (u - deviations)) / 2
    scale = PARAMETERS.filter.outlier_scale
    log_likelihood = _with_outliers(-half_square - deviations, -half_square / scale**2 - deviations - math.log(scale))
    return (*_posterior(GRID, log_likelihood), _tail_table())


@lru_cache
def rounded_tables() -> tuple[Floats, ...]:
    """Return the tables of `filter_tables`, each followed by those of returns of 0, 1, ... `MOST_STEPS` price steps."""
    deviations, u, weights = _quadrature(ROUNDED)
    ordinary, wider = u + deviations, u + deviations + math.log(PARAMETERS.filter.outlier_scale)
    at_least, wider_at_least = _log_at_least(ordinary), _log_at_least(wider)
    tables = [filter_tables()]
    for steps in range(MOST_STEPS + 1):
        log_likelihood = _with_outliers(
            _log_exactly(steps, ordinary, at_least), _log_exactly(steps, wider, wider_at_least)
        )
        shift, share = _posterior(ROUNDED, log_likelihood)
        if not steps:
            # Below the lowest deviation standing still tells nothing more.
            shift[:: ROUNDED.columns], share[:: ROUNDED.columns] = 0.0, 1.0
        tables.append((shift, share, _log_scores(_log_mean(at_least[steps], weights))))
    return tuple(np.concatenate(parts) for parts in zip(*tables, strict=True))


def _log_at_least(log_a: Floats) -> list[Floats]:
    """Return the log probability of at least 0, 1, ... `MOST_STEPS` + 1 price steps."""
    step = np.exp(-log_a)
    excesses = [_log_excess(steps * step) for steps in range(MOST_STEPS + 2)]
    log_p = [np.zeros(log_a.shape)]
    for nearer, farther in pairwise(excesses):
        log_p.append(math.log(2) + log_a + nearer + np.log1p(-np.exp(farther - nearer)))
    return log_p


def _log_exactly(steps: int, log_a: Floats, at_least: list[Floats]) -> Floats:
    """Return the log probability of exactly so many price steps; from the density where many are likely."""
    more = np.minimum(at_least[steps + 1] - at_least[steps], -1e-12)
    density = -0.5 * (steps * np.exp(-log_a)) ** 2 - log_a + math.log((1 + (steps > 0)) / math.sqrt(2 * math.pi))
    return np.where(log_a < _MANY_STEPS, at_least[steps] + np.log1p(-np.exp(more)), density)


def _log_excess(c: Floats) -> Floats:
    """Return the log of the mean excess of a normal number over c >= 0; by its expansion where that cancels."""
    near, far = np.minimum(c, _FAR), np.maximum(c, _FAR)
    # The tail beyond c over the density there: Mills' ratio.
    mills = math.sqrt(math.pi / 2) * np.exp(log_erfc(near / math.sqrt(2)) + 0.5 * near * near)
    ratio = np.where(c < _FAR, 1 - near * mills, (1 - 3 / far**2) / far**2)
    excess: Floats = np.log(ratio) - 0.5 * c * c - 0.5 * math.log(2 * math.pi)
    return excess


def _with_outliers(ordinary: Floats, wider: Floats) -> Floats:
    """Return the log likelihood of a return that is rarely an outlier, from those of an ordinary and a wider one."""
    share = PARAMETERS.filter.outliers
    return np.logaddexp(math.log(1 - share) + ordinary, math.log(share) + wider)


def _posterior(grid: Grid, log_likelihood: Floats) -> tuple[Floats, Floats]:
    """Return the shift of the mean and the remaining share of the variance at each point of a grid."""
    deviations, _, weights = _quadrature(grid)
    log_likelihood = log_likelihood - log_likelihood.max(axis=-1, keepdims=True)
    posterior = weights * np.exp(log_likelihood)
    posterior /= posterior.sum(axis=-1, keepdims=True)
    shift: Floats = (posterior * deviations).sum(axis=-1)
    spread = (posterior * deviations**2).sum(axis=-1) - shift**2
    prior = np.maximum((grid.deviation_step * np.arange(grid.rows)) ** 2, 1e-12)[:, None]
    share: Floats = np.where(prior > 1e-9, np.maximum(spread / prior, _LEAST_SHARE), 1.0)
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
    deviations, u, weights = _quadrature(GRID)
    log_tails = log_erfc(np.exp(np.minimum(u - deviations, 300.0)) / math.sqrt(2))
    return _log_scores(_log_mean(log_tails, weights))


def _log_mean(logs: Floats, weights: Floats) -> Floats:
    largest = logs.max(axis=-1, keepdims=True)
    mean: Floats = np.log((weights * np.exp(logs - largest)).sum(axis=-1)) + largest[..., 0]
    return mean


def _log_scores(log_p: Floats) -> Floats:
    """Return a flat table of log(-log10 p)."""
    table: Floats = np.log(np.maximum(-log_p, 1e-12) / math.log(10)).ravel()
    return table


def _quadrature(grid: Grid) -> tuple[Floats, Floats, Floats]:
    """Return deviations of log volatility from its mean (rows, 1, nodes), u (columns, 1), and weights."""
    nodes, weights = gauss_hermite()
    spread = grid.deviation_step * np.arange(grid.rows)
    u: Floats = grid.lowest + grid.step * np.arange(grid.columns, dtype=np.float64)
    return spread[:, None, None] * nodes, u[:, None], weights


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
