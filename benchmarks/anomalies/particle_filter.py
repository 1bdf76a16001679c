"""The particles of the Bayes filter, compiled: a bootstrap filter with systematic resampling."""

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from benchmarks.anomalies.volatility import Floats


@njit(cache=True, fastmath=True)
def surprises(
    returns: Floats, stale: NDArray[np.bool_], scale: Floats, keeps: Floats, noise: float,
    shocks: Floats, sds: Floats, level: float, jump_rate: float, jump_square: float, count: int,
    nodes: Floats, masses: Floats,
) -> Floats:
    """Run `count` particles over the pieces of one series and score the log returns that end in them.

    `stale` says in which pieces none does: their variance is carried on. `scale` is the squared hour factor
    times the minutes of each piece, `keeps` how much of each factor outlives it, `sds` the stationary
    standard deviations of the factors, `level` the log of median volatility; `shocks` are standard normal
    draws, `nodes` and `masses` a Gauss-Hermite rule for a standard normal.
    """
    slow, mid, fast = np.empty(count), np.empty(count), np.empty(count)
    before, variance = np.zeros(count), np.empty(count)
    expected, weight = np.empty(count), np.empty(count)
    scores = np.zeros(len(returns))
    at = 0
    for j in range(count):
        slow[j] = sds[0] * shocks[j]
        mid[j] = sds[1] * shocks[count + j]
        fast[j] = sds[2] * shocks[2 * count + j]
    for i in range(1, len(returns)):
        # A pseudo-random stretch of a fixed pool of normal draws: far cheaper than drawing, as good here.
        at = (at * 1103515245 + 12345 + i) % 2147483648
        start = (at >> 8) % (len(shocks) - 3 * count)
        k0, k1, k2 = keeps[i, 0], keeps[i, 1], keeps[i, 2]
        s0 = sds[0] * math.sqrt(1 - k0 * k0)
        s1 = sds[1] * math.sqrt(1 - k1 * k1)
        s2 = sds[2] * math.sqrt(1 - k2 * k2)
        for j in range(count):
            expected[j] = level + k0 * slow[j] + k1 * mid[j] + k2 * fast[j]
            slow[j] = k0 * slow[j] + s0 * shocks[start + j]
            mid[j] = k1 * mid[j] + s1 * shocks[start + count + j]
            fast[j] = k2 * fast[j] + s2 * shocks[start + 2 * count + j]
            variance[j] = before[j] + math.exp(2 * (level + slow[j] + mid[j] + fast[j])) * scale[i]
        if stale[i]:
            before[:] = variance
            continue
        square = returns[i] * returns[i]
        variance += noise
        before += noise
        spread = math.sqrt(s0 * s0 + s1 * s1 + s2 * s2)
        scores[i] = _surprise(square, variance, before, expected, scale[i], spread * nodes, masses)
        before[:] = 0.0
        total = _weigh(square, variance, weight, jump_rate, jump_square)
        _resample(slow, mid, fast, weight, total, (at & 255) / 256.0)
    return scores


@njit(cache=True, fastmath=True)
def _surprise(
    square: float, variance: Floats, before: Floats, expected: Floats, scale: float,
    shifts: Floats, masses: Floats,
) -> float:
    """-log10 of the two-sided predictive p-value of a squared return.

    For a candidate the last shock to volatility is integrated out for every particle (Rao-Blackwell), as
    the p-value hangs on the few particles of high volatility; for the rest a Gaussian value is enough.
    """
    typical = np.mean(variance)
    if square < 4 * typical:
        return -math.log10(math.erfc(math.sqrt(square / (2 * typical))))
    factors = np.exp(2 * shifts) * scale
    p = 0.0
    for j in range(len(variance)):
        middle = math.exp(2 * expected[j])
        for n in range(len(shifts)):
            p += masses[n] * math.erfc(math.sqrt(square / (2 * (before[j] + middle * factors[n]))))
    return -math.log10(max(p / len(variance), 1e-300))


@njit(cache=True, fastmath=True)
def _weigh(square: float, variance: Floats, weight: Floats, jump_rate: float, jump_square: float) -> float:
    """Set the likelihood of a squared return under each particle and return their sum."""
    total = 0.0
    wide = 1 + jump_square
    jump_scale = jump_rate / math.sqrt(wide)
    for j in range(len(variance)):
        half = square / (2 * variance[j])
        density = (1 - jump_rate) * math.exp(-half) + jump_scale * math.exp(-half / wide)
        weight[j] = density / math.sqrt(variance[j])
        total += weight[j]
    return total


@njit(cache=True, fastmath=True)
def _resample(slow: Floats, mid: Floats, fast: Floats, weight: Floats, total: float, start: float) -> None:
    """Systematic resampling in place: survivors are copied, in order, over particles that die."""
    count = len(weight)
    copies = np.empty(count, np.int64)
    cumulated, taken = 0.0, 0
    for j in range(count):
        cumulated += weight[j] * count / total
        copies[j] = 0
        while taken < count and taken + start < cumulated:
            copies[j] += 1
            taken += 1
    copies[count - 1] += count - taken  # rounding may leave one over
    free = 0
    for j in range(count):
        while copies[j] > 1:
            while copies[free] > 0:
                free += 1
            slow[free], mid[free], fast[free] = slow[j], mid[j], fast[j]
            copies[free] = 1
            copies[j] -= 1
