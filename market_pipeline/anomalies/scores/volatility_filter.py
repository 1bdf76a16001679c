"""Volatility in clock time: a Bayes filter for the logarithm of volatility.

    log sigma(t) = slow + middle + fast          (per square root of a minute)
    r over D minutes ~ N(0, s2) or, rarely, N(0, 9 s2),   s2 = sigma^2 * f^2 * D

Each component is predicted exactly over the elapsed time; a return then updates their sum by its posterior moments
(tabulated, see `predictive`), distributed by the Kalman gain. Log stochastic volatility: Harvey, Ruiz & Shephard 1994;
Kim, Shephard & Chib 1998.

In a coin whose price step is as coarse as its returns, a return is a number of steps and its likelihood that of the
rounding: no step at all tells as much as one. Rounding is not taken for diffusion.
"""

import math
from dataclasses import astuple, dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.predictive import GRID, MOST_STEPS, ROUNDED, filter_tables, rounded_tables
from market_pipeline.anomalies.series import Floats

_LN2 = math.log(2)
# A single step in this many minutes is at most 2.4 deviations of the slow scale, however rare steps are.
_STEP_MINUTES = 15.0
# Where prices cease to be coarse and in the next quotes the variance is this many times the slow one (a stablecoin lost
# its peg), the slow scale starts again and follows it for these quotes: it would take weeks.
_BROKEN = 36.0
_WATCHED = 64
# The variance of the difference of two roundings, in squared steps; below this deviation in steps the mean square of a
# return is that of single steps, sqrt(2 / pi) times the deviation.
_ROUNDING = 1 / 6
_SINGLE_STEPS = 0.45


@dataclass(frozen=True)
class Filtered:
    """What is known before each quote, and how surprising the quote is.

    `mean` and `variance` of log volatility, the expected `volatility` and `slow`, a truncated exponentially weighted
    scale with a long memory, are per square root of a minute, without the hour factor. `deviation` is the standard
    deviation of the return, with that and the rounding; `score` is -log10 of the two-sided probability of the return,
    0 for an unchanged quote.
    """

    mean: Floats
    variance: Floats
    volatility: Floats
    deviation: Floats
    slow: Floats
    score: Floats


def filter_volatility(
    log_size: Floats, log_scale: Floats, coarse_step: Floats, minutes: Floats, level: float, level_deviation: float,
    slow: float | None = None,
) -> Filtered:
    """Filter the quotes of one symbol, in time order.

    `log_size` is log(abs(r)) of the return since the last fresh quote, NaN where there is none; `log_scale` is
    log(f * sqrt(D)) of the same interval; `coarse_step` the price step, 0 where returns are not coarse; `minutes` the
    time since the previous quote. `level` is the log volatility expected beforehand, with standard deviation
    `level_deviation`, and `slow` the slow volatility where it is known; else it is learned from the first quotes.
    """
    settings = PARAMETERS.filter
    coarse = bool(coarse_step.any())
    relative, steps = log_size - log_scale, np.full(len(coarse_step), -1.0)
    if coarse:
        relative, steps = _rounded(log_size, log_scale, coarse_step)
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
        *astuple(ROUNDED),
    )
    tables = rounded_tables() if coarse else filter_tables()
    mean, variance, score = run(_filter, (relative, steps, minutes), numbers, outputs=3, tables=tables)
    # The mean of sigma^2 when log sigma is normal.
    volatility = np.exp(mean + variance)
    scale = np.exp(log_scale)
    deviation = volatility * scale
    squares, least = np.exp(2 * (log_size - log_scale)), coarse_step
    if coarse:
        rows = np.flatnonzero(coarse_step)
        rounding = _rounding(deviation[rows], coarse_step[rows])
        deviation[rows] = np.sqrt(deviation[rows] ** 2 + rounding)
        squares[rows] -= rounding / scale[rows] ** 2
        least = _ROUNDING / _STEP_MINUTES * coarse_step**2
    start = math.exp(2.0 * (level + level_deviation**2)) if slow is None else slow * slow
    known = 0.0 if slow is None else 1.0
    rate, truncation = -_LN2 / PARAMETERS.slow_half_life, PARAMETERS.slow_truncation**2
    numbers = (start, known, rate, truncation, _BROKEN, _WATCHED)
    [slows] = run(_slow_square, (squares, least, np.exp(2 * mean), minutes), numbers, outputs=1)
    return Filtered(mean, variance, volatility, deviation, np.sqrt(slows), score)


def _rounded(log_size: Floats, log_scale: Floats, coarse_step: Floats) -> tuple[Floats, Floats]:
    """Return the log sizes in units of the scale, and the numbers of steps.

    Where a return is of at most `MOST_STEPS` steps, the log of one step takes the place of its size; elsewhere the
    number is -1.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        log_step = np.log(coarse_step)
        steps = np.rint(np.exp(log_size - log_step))
    steps[(log_size > -np.inf) & (steps == 0)] = 1
    few = steps <= MOST_STEPS
    return np.where(few, log_step, log_size) - log_scale, np.where(few, steps, -1.0)


def _rounding(deviation: Floats, coarse_step: Floats) -> Floats:
    """Return the variance that rounding adds to a return of this deviation."""
    single = deviation < _SINGLE_STEPS * coarse_step
    return np.where(single, math.sqrt(2 / math.pi) * deviation * coarse_step - deviation**2, _ROUNDING * coarse_step**2)


def _filter(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    sizes, steps, minutes = rows
    m0, p00, stationary_1, stationary_2, wander, rate_1, rate_2 = numbers[:7]
    lowest, step, width, deviation_step, height = numbers[7:12]
    rounded_lowest, rounded_step, rounded_width, rounded_deviation_step, rounded_height = numbers[12:]
    grid, rounded_grid = int(width * height), int(rounded_width * rounded_height)
    plain_columns, plain_last, plain_last_row = int(width), width - 1.001, height - 1.001
    rounded_columns, rounded_last, rounded_last_row = int(rounded_width), rounded_width - 1.001, rounded_height - 1.001
    shifts, shares, tails = tables
    means, variances, scores = out
    m1 = m2 = p01 = p02 = p12 = a = b = 0.0
    p11, p22 = stationary_1, stationary_2
    last = -1.0
    for i in range(len(sizes)):
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
        size = sizes[i]
        if size != size:
            continue
        # Look up, bilinear; beyond the edges of the tables the nearest entry.
        deviation = math.sqrt(variance)
        if steps[i] < 0.0:
            x, w = (size - mean - lowest) / step, deviation / deviation_step
            at, columns, last_column, last_row = 0, plain_columns, plain_last, plain_last_row
        else:
            x, w = (mean - size - rounded_lowest) / rounded_step, deviation / rounded_deviation_step
            at, columns, last_column, last_row = (
                grid + int(steps[i]) * rounded_grid, rounded_columns, rounded_last, rounded_last_row
            )  # fmt: skip
        if x < 0.0:
            x = 0.0
        elif x > last_column:
            x = last_column
        if w > last_row:
            w = last_row
        column, row = int(x), int(w)
        x, w = x - column, w - row
        at += row * columns + column
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
    squares, least_slows, presents, minutes = rows
    slow, known, rate, truncation, broken, watch = numbers
    [slows] = out
    weight = since = watched = limit = 0.0
    last = -1.0
    for i in range(len(squares)):
        since += minutes[i]
        least = least_slows[i]
        if least > 0.0:
            watched, limit = watch, broken
            if slow < least:
                slow = least
        elif watched > 0.0:
            watched -= 1.0
            if presents[i] > limit * slow:
                slow, limit = presents[i], 1.0
        slows[i] = slow
        square = squares[i]
        if square != square:
            # The time over unchanged quotes is that of the next fresh one.
            continue
        if known > 0.0 and square > truncation * slow:
            square = truncation * slow
        if since != last:
            last = since
            weight = 1.0 - math.exp(rate * since)
        since = 0.0
        known += weight * (1.0 - known)
        if known > 0.0:
            slow += weight / known * (square - slow)
            if slow < least:
                slow = least
