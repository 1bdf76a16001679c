"""Returns between fresh quotes, the time they took, the price step, and the quality of each quote.

An unchanged quote usually means that the source had nothing new, not that the price stood still: as a zero return it
would make the next real move look enormous. Its time is carried over to the next changed quote. In a coin whose price
step is coarser than its moves, such as a stablecoin quoted in thousandths, most quotes are unchanged because the price
stood still within the step. There an unchanged quote is news, too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import MINUTES_PER_DAY, PARAMETERS
from market_pipeline.anomalies.series import Floats, PriceSeries

Indices = NDArray[np.intp]

_MICROSECONDS_PER_MINUTE = 60e6
# The price step is the smallest change of this many changes, and of as many before them.
_STEP_CHANGES = 128
# A coin is coarse if at least half of this many changes were a single step. That is so where the step is about half of
# a standard deviation of the returns or more.
_COARSE_CHANGES = 32
_COARSE_SHARE = 0.5
_SINGLE = 1.5
# With fewer changes than this the step is not known. A price that has fewer after a day hardly ever moves: its step is
# taken to be this share of it.
_FEWEST_CHANGES = 16
_UNKNOWN_STEP = 1e-3


@dataclass(frozen=True, eq=False)
class Returns:
    """One entry per quote. `before` is the fresh quote that a return starts from, -1 for the first quote.

    `minutes` is the clock (since 1970, UTC), `step` the minutes since the previous quote, `elapsed` those since
    `before`, at least the shortest meaningful interval; a quote that is not `fresh` has `log_return` 0. `number` counts
    the earlier fresh quotes. `coarse_step` is the price step as a share of the price where that is coarse, else 0;
    there unchanged quotes are fresh.
    """

    minutes: Floats
    log_price: Floats
    fresh: NDArray[np.bool_]
    before: Indices
    log_return: Floats
    elapsed: Floats
    step: Floats
    number: Indices
    coarse_step: Floats


def returns_of(series: PriceSeries) -> Returns:
    """Return the returns of a series; the first quote has none: zeros, and the shortest elapsed time."""
    size = len(series)
    minutes = series.timestamps.view(np.int64) / _MICROSECONDS_PER_MINUTE
    log_price = np.log(series.prices)
    changed = np.ones(size, dtype=np.bool_)
    # Compare logarithms: a change in the last bit of a price may vanish in them, and a return of 0 has no log size.
    changed[1:] = log_price[1:] != log_price[:-1]
    coarse_step = _coarse_steps(series.prices, minutes, changed)
    fresh = changed | (coarse_step > 0)
    # The newest fresh index, shifted by one quote.
    newest = np.maximum.accumulate(np.where(fresh, np.arange(size), 0)) if size else np.empty(0, np.intp)
    before = np.concatenate([np.full(min(size, 1), -1, dtype=np.intp), newest[:-1]])
    log_return = np.zeros(size)
    log_return[1:] = log_price[1:] - log_price[before[1:]]
    elapsed = np.full(size, PARAMETERS.shortest_interval)
    elapsed[1:] = np.maximum(minutes[1:] - minutes[before[1:]], PARAMETERS.shortest_interval)
    step = np.zeros(size)
    step[1:] = np.diff(minutes)
    number: Indices = np.cumsum(fresh) - fresh
    return Returns(minutes, log_price, fresh, before, log_return, elapsed, step, number, coarse_step)


def _coarse_steps(prices: Floats, minutes: Floats, changed: NDArray[np.bool_]) -> Floats:
    """Return the price step as a share of the price where that is coarse, as far as earlier quotes show, else 0."""
    steps = np.zeros(len(prices))
    at = np.flatnonzero(changed[1:]) + 1
    young = slice(0, at[_FEWEST_CHANGES - 1] + 1 if len(at) >= _FEWEST_CHANGES else len(prices))
    steps[young][minutes[young] - minutes[:1] >= MINUTES_PER_DAY] = _UNKNOWN_STEP
    if young.stop == len(prices):
        return steps
    sizes = np.abs(np.diff(prices) if len(at) == len(prices) - 1 else prices[at] - prices[at - 1])
    smallest = _running_minimum(sizes)
    # As small as the smallest before, neither more nor less.
    single = (sizes[1:] < _SINGLE * smallest[:-1]) & (_SINGLE * sizes[1:] > smallest[:-1])
    singles = np.zeros(len(at) + 1, dtype=np.int32)
    np.cumsum(single, out=singles[2:])
    recent = np.minimum(np.arange(_COARSE_CHANGES), len(at))
    coarse = np.concatenate([
        singles[recent] >= _COARSE_SHARE * recent,
        singles[_COARSE_CHANGES:] - singles[:-_COARSE_CHANGES] >= _COARSE_SHARE * _COARSE_CHANGES,
    ])
    if coarse[_FEWEST_CHANGES:].any():
        # The number of changes before each quote.
        known = (np.cumsum(changed) - 1 - changed)[young.stop :]
        with np.errstate(over="ignore"):
            coarse_steps = np.where(coarse[known], smallest[known - 1] / prices[young.stop :], 0.0)
        steps[young.stop :] = np.minimum(coarse_steps, 1.0)
    return steps


def _running_minimum(values: Floats) -> Floats:
    """Return the minimum of each value and those before it, at least the last `_STEP_CHANGES` of them."""
    blocks = np.full(-(-len(values) // _STEP_CHANGES) * _STEP_CHANGES, np.inf)
    blocks[: len(values)] = values
    lowest = np.minimum.accumulate(blocks.reshape(-1, _STEP_CHANGES), axis=1)
    lowest[1:] = np.minimum(lowest[1:], lowest[:-1, -1:])
    minimum: Floats = lowest.ravel()[: len(values)]
    return minimum


FIRST, STALE, WARM_UP, GAP = "first", "stale", "warm_up", "gap"
_FLAGS = (FIRST, STALE, WARM_UP, GAP)
# The flags of each code of `quality_of`, one bit a flag.
QUALITIES = tuple(
    ",".join(flag for bit, flag in enumerate(_FLAGS) if code >> bit & 1) for code in range(2 ** len(_FLAGS))
)


def quality_of(returns: Returns, *, is_known: bool) -> NDArray[np.int8]:
    """Return indices into `QUALITIES`: first quote, stale (unchanged), warm_up (unsettled filter), after a gap.

    The filter settles sooner where the volatility of the coin is known beforehand.
    """
    warm_up = PARAMETERS.known_warm_up_quotes if is_known else PARAMETERS.warm_up_quotes
    codes: NDArray[np.intp] = (
        (returns.before < 0) * 1
        + ~returns.fresh * 2
        + (returns.number < warm_up) * 4
        + after_gap(returns) * 8
    )
    return codes.astype(np.int8)


def after_gap(returns: Returns) -> NDArray[np.bool_]:
    """Return whether quotes are missing before each quote: its interval is much longer than each of the last few.

    Also true of the quotes after it until the price changes, because their return began before the gap.
    """
    step = returns.step
    longest: Floats = np.full(len(step), np.inf)
    recent = PARAMETERS.gap_intervals
    if len(step) > recent + 1:
        windows = [step[1 + back : len(step) - recent + back] for back in range(recent)]
        longest[recent + 1 :] = np.maximum.reduce(windows)
    gap: NDArray[np.bool_] = (step > PARAMETERS.gap_ratio * longest) & (step > PARAMETERS.gap_minutes)
    if gap.any() and not returns.fresh.all():
        opened = np.maximum.accumulate(np.where(gap, np.arange(len(gap)), -1))
        gap = (opened >= 0) & (opened > returns.before)
    return gap
