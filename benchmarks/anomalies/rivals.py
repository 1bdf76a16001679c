"""The common rules, each as a function of quote times and prices that gives one score per quote.

Times are minutes, ascending; a score says how unusual the move into its quote is, higher is more; quotes
without enough history score 0. All but the libraries (`libraries.py`) use the past only.
"""

import math
from collections.abc import Callable

import numpy as np
from numba import njit

from benchmarks.anomalies.volatility import Floats

Detector = Callable[[Floats, Floats], Floats]

_WINDOW = 60
_DECAY = 0.94


def returns(prices: Floats) -> Floats:
    """Log returns, 0 for the first quote."""
    return np.diff(np.log(prices), prepend=math.log(prices[0]))


def two_point(minutes: Floats, prices: Floats) -> Floats:
    """The user's rule: the size of the move from the quote before, as a share of it."""
    moves: Floats = np.abs(np.diff(prices, prepend=prices[0]) / np.concatenate((prices[:1], prices[:-1])))
    return moves


def rolling_z(minutes: Floats, prices: Floats) -> Floats:
    """Return against mean and standard deviation of the 60 returns before it."""
    from numpy.lib.stride_tricks import sliding_window_view

    moves = returns(prices)
    before = sliding_window_view(moves, _WINDOW)[:-1]
    scores = np.zeros(len(moves))
    spread = np.maximum(before.std(axis=1, ddof=1), _least(moves))
    scores[_WINDOW:] = np.abs(moves[_WINDOW:] - before.mean(axis=1)) / spread
    return scores


def modified_z(minutes: Floats, prices: Floats) -> Floats:
    """Return against median and median absolute deviation of the 60 before it (Iglewicz & Hoaglin 1993)."""
    moves = returns(prices)
    scores: Floats = _modified_z(moves, _WINDOW, _least(moves))
    return scores


def ewma(minutes: Floats, prices: Floats) -> Floats:
    """Return against an exponentially weighted volatility, decay 0.94 (J.P. Morgan RiskMetrics 1996)."""
    moves = returns(prices)
    scores: Floats = ewma_loop(moves, np.ones(len(moves)), _least(moves))
    return scores


def ewma_clock(minutes: Floats, prices: Floats) -> Floats:
    """The same on returns divided by the square root of the elapsed time."""
    moves = returns(prices)
    scores: Floats = ewma_loop(moves, _elapsed(minutes), _least(moves))
    return scores


def ewma_clock_fresh(minutes: Floats, prices: Floats) -> Floats:
    """The same with repeated quotes dropped; they score 0."""
    fresh = np.concatenate(([True], np.diff(prices) != 0))
    scores = np.zeros(len(prices))
    scores[fresh] = ewma_clock(minutes[fresh], prices[fresh])
    return scores


def lee_mykland(minutes: Floats, prices: Floats) -> Floats:
    """Return against bipower volatility of the K - 2 products before it (Lee & Mykland 2008).

    K = sqrt(365 n), n the quotes of a day at the median gap, as the paper advises for a market that is
    always open.
    """
    moves = returns(prices)
    per_day = 1440 / np.median(np.diff(minutes))
    window = max(4, round(math.sqrt(365 * per_day))) - 2
    products = np.abs(moves) * np.concatenate(([0.0], np.abs(moves[:-1])))
    summed = np.cumsum(products)
    scores = np.zeros(len(moves))
    variance = (summed[window:-1] - summed[: -window - 1]) / window
    scores[window + 1 :] = np.abs(moves[window + 1 :]) / np.sqrt(np.maximum(variance, _least(moves) ** 2))
    return scores


def _elapsed(minutes: Floats) -> Floats:
    gaps = np.diff(minutes, prepend=minutes[0] - 1)
    return np.maximum(gaps, 1e-6)


def _least(moves: Floats) -> float:
    """A floor for scales, so that a run of repeated quotes does not divide by zero: 1% of the typical."""
    return max(0.01 * float(np.std(moves[:1000])), 1e-12)


@njit(cache=True)
def ewma_loop(moves: Floats, elapsed: Floats, least: float) -> Floats:
    """The loop of the three rules: sizes of the moves against the weighted mean of their squares."""
    scores = np.zeros(len(moves))
    variance = 0.0
    for i in range(1, len(moves)):
        square = moves[i] * moves[i] / elapsed[i]
        if i > _WINDOW:
            scores[i] = math.sqrt(square / max(variance, least * least))
            variance = _DECAY * variance + (1 - _DECAY) * square
        else:
            variance += (square - variance) / i
    return scores


@njit(cache=True)
def _modified_z(moves: Floats, window: int, least: float) -> Floats:
    scores = np.zeros(len(moves))
    for i in range(window, len(moves)):
        before = moves[i - window : i]
        middle = np.median(before)
        spread = np.median(np.abs(before - middle))
        scores[i] = 0.6745 * abs(moves[i] - middle) / max(spread, least)
    return scores
