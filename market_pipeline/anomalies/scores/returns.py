"""Returns between changed quotes, the time they took, and the quality of each quote.

An unchanged quote means that the source had nothing new, not that the price stood still: as a zero return it would
make the next real move look enormous. Its time is carried over to the next changed quote.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.series import Floats, PriceSeries

Indices = NDArray[np.intp]

_MICROSECONDS_PER_MINUTE = 60e6


@dataclass(frozen=True, eq=False)
class Returns:
    """One entry per quote. `before` is the changed quote that a return starts from, -1 for the first quote.

    `minutes` is the clock (since 1970, UTC), `step` the minutes since the previous quote, `elapsed` those since
    `before`, at least the shortest meaningful interval; an unchanged quote has `log_return` 0 and `changed` false.
    `number` counts the earlier changed quotes.
    """

    minutes: Floats
    log_price: Floats
    changed: NDArray[np.bool_]
    before: Indices
    log_return: Floats
    elapsed: Floats
    step: Floats
    number: Indices


def returns_of(series: PriceSeries) -> Returns:
    """Return the returns of a series; the first quote has none: zeros, and the shortest elapsed time."""
    size = len(series)
    minutes = series.timestamps.view(np.int64) / _MICROSECONDS_PER_MINUTE
    log_price = np.log(series.prices)
    changed = np.ones(size, dtype=np.bool_)
    # Compare logarithms: a change in the last bit of a price may vanish in them, and a return of 0 has no log size.
    changed[1:] = log_price[1:] != log_price[:-1]
    # The newest changed index, shifted by one quote.
    newest = np.maximum.accumulate(np.where(changed, np.arange(size), 0)) if size else np.empty(0, np.intp)
    before = np.concatenate([np.full(min(size, 1), -1, dtype=np.intp), newest[:-1]])
    log_return = np.zeros(size)
    log_return[1:] = log_price[1:] - log_price[before[1:]]
    elapsed = np.full(size, PARAMETERS.shortest_interval)
    elapsed[1:] = np.maximum(minutes[1:] - minutes[before[1:]], PARAMETERS.shortest_interval)
    step = np.zeros(size)
    step[1:] = np.diff(minutes)
    number: Indices = np.cumsum(changed) - changed
    return Returns(minutes, log_price, changed, before, log_return, elapsed, step, number)


FIRST, STALE, WARM_UP, GAP = "first", "stale", "warm_up", "gap"
_FLAGS = (FIRST, STALE, WARM_UP, GAP)
# The flags of each code of `quality_of`, one bit a flag.
QUALITIES = tuple(
    ",".join(flag for bit, flag in enumerate(_FLAGS) if code >> bit & 1) for code in range(2 ** len(_FLAGS))
)


def quality_of(returns: Returns) -> NDArray[np.int8]:
    """Return indices into `QUALITIES`: first quote, stale (unchanged), warm_up (unsettled filter), after a gap."""
    codes: NDArray[np.intp] = (
        (returns.before < 0) * 1
        + ~returns.changed * 2
        + (returns.number < PARAMETERS.warm_up_quotes) * 4
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
    if gap.any() and not returns.changed.all():
        opened = np.maximum.accumulate(np.where(gap, np.arange(len(gap)), -1))
        gap = (opened >= 0) & (opened > returns.before)
    return gap
