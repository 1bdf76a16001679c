"""Volatility in clock time: a Bayes filter for the logarithm of volatility.

    log sigma(t) = slow + middle + fast          (per square root of a minute)
    r over D minutes ~ N(0, s2) or, rarely, N(0, 9 s2),   s2 = sigma^2 * f^2 * D

Each component is predicted exactly over the elapsed time; a return then updates their sum by its posterior moments
(tabulated, see `predictive`), distributed by the Kalman gain. Log stochastic volatility: Harvey, Ruiz & Shephard 1994;
Kim, Shephard & Chib 1998.
"""

import math
from dataclasses import astuple, dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.predictive import GRID, filter_tables
from market_pipeline.anomalies.series import Floats

_LN2 = math.log(2)


@dataclass(frozen=True)
class Filtered:
    """What is known before each quote, and how surprising the quote is.

    `mean` and `variance` of log volatility and `slow`, a truncated exponentially weighted scale with a long memory,
    are per square root of a minute, without the hour factor. `score` is -log10 of the two-sided probability of the
    return; 0 for an unchanged quote.
    """

    mean: Floats
    variance: Floats
    slow: Floats
    score: Floats


def filter_volatility(
    log_size: Floats, log_scale: Floats, minutes: Floats, level: float, level_deviation: float
) -> Filtered:
    """Filter the quotes of one symbol, in time order.

    `log_size` is log(abs(r)) of the return since the last changed quote, NaN where there is none; `log_scale` is
    log(f * sqrt(D)) of the same interval; `minutes` the time since the previous quote. `level` is the log volatility
    expected beforehand, with standard deviation `level_deviation`.
    """
    settings = PARAMETERS.filter
    numbers = (
        level,
        level_deviation**2,
        settings.middle.deviation**2,
        settings.fast.deviation**2,
        2 * _LN2 * settings.slow.deviation**2 / settings.slow.half_life,
        -_LN2 / settings.middle.half_life,
        -_LN2 / settings.fast.half_life,
        # As arguments, because Numba's cache on disk would keep the values of module constants.
        *astuple(GRID),
    )
    rows = (log_size, log_scale, minutes)
    mean, variance, score = run(_filter, rows, numbers, outputs=3, tables=filter_tables())
    numbers = (level, level_deviation**2, -_LN2 / PARAMETERS.slow_half_life, PARAMETERS.slow_truncation**2)
    [slow] = run(_slow_square, rows, numbers, outputs=1)
    return Filtered(mean, variance, np.sqrt(slow), score)


def _filter(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    log_sizes, log_scales, minutes = rows
    m0, p00, stationary_1, stationary_2, wander, rate_1, rate_2, lowest, step, width, deviation_step, height = numbers
    columns, last_column, last_row = int(width), width - 1.001, height - 1.001
    shifts, shares, tails = tables
    means, variances, scores = out
    m1 = m2 = p01 = p02 = p12 = a = b = 0.0
    p11, p22 = stationary_1, stationary_2
    last = -1.0
    for i in range(len(log_sizes)):
        passed = minutes[i]
        if passed != last:
            last = passed
            a, b = math.exp(rate_1 * passed), math.exp(rate_2 * passed)
        # Predict: the components' means m and covariances p.
        m1, m2 = m1 * a, m2 * b
        p00 += wander * passed
        p01, p02, p12 = p01 * a, p02 * b, p12 * (a * b)
        p11 = stationary_1 + a * a * (p11 - stationary_1)
        p22 = stationary_2 + b * b * (p22 - stationary_2)
        mean = m0 + m1 + m2
        g0, g1, g2 = p00 + p01 + p02, p01 + p11 + p12, p02 + p12 + p22
        variance = g0 + g1 + g2
        means[i] = mean
        variances[i] = variance
        size = log_sizes[i]
        if size != size:
            continue
        # Look up, bilinear; beyond the edges of the tables the nearest entry.
        x = min(max((size - log_scales[i] - mean - lowest) / step, 0.0), last_column)
        w = min(math.sqrt(variance) / deviation_step, last_row)
        column, row = int(x), int(w)
        x, w = x - column, w - row
        at = row * columns + column
        below = at + columns
        c00, c01, c10, c11 = (1.0 - x) * (1.0 - w), x * (1.0 - w), (1.0 - x) * w, x * w
        shift = c00 * shifts[at] + c01 * shifts[at + 1] + c10 * shifts[below] + c11 * shifts[below + 1]
        share = c00 * shares[at] + c01 * shares[at + 1] + c10 * shares[below] + c11 * shares[below + 1]
        tail = c00 * tails[at] + c01 * tails[at + 1] + c10 * tails[below] + c11 * tails[below + 1]
        scores[i] = math.exp(tail)
        # Update.
        shift /= variance
        drop = (1.0 - share) / variance
        m0, m1, m2 = m0 + g0 * shift, m1 + g1 * shift, m2 + g2 * shift
        p00, p01, p02 = p00 - g0 * g0 * drop, p01 - g0 * g1 * drop, p02 - g0 * g2 * drop
        p11, p12, p22 = p11 - g1 * g1 * drop, p12 - g1 * g2 * drop, p22 - g2 * g2 * drop


def _slow_square(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    log_sizes, log_scales, minutes = rows
    level, level_variance, rate, truncation = numbers
    [slows] = out
    slow = math.exp(2.0 * (level + level_variance))
    known = weight = since = 0.0
    last = -1.0
    for i in range(len(log_sizes)):
        since += minutes[i]
        slows[i] = slow
        size = log_sizes[i]
        if size != size:
            # The time over unchanged quotes is that of the next changed one.
            continue
        square = math.exp(2.0 * (size - log_scales[i]))
        if known > 0.0 and square > truncation * slow:
            square = truncation * slow
        if since != last:
            last = since
            weight = 1.0 - math.exp(rate * since)
        since = 0.0
        known += weight * (1.0 - known)
        if known > 0.0:
            slow += weight / known * (square - slow)
