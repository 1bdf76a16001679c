"""What to know about a quote before trusting its scores."""

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.returns import Floats, Returns

FIRST, STALE, WARM_UP, GAP = "first", "stale", "warm_up", "gap"
_FLAGS = (FIRST, STALE, WARM_UP, GAP)
# What each number that `quality_of` gives says.
QUALITIES = tuple(
    ",".join(flag for bit, flag in enumerate(_FLAGS) if code >> bit & 1) for code in range(2 ** len(_FLAGS))
)


def quality_of(returns: Returns) -> NDArray[np.int8]:
    """The numbers of the `QUALITIES`: `first` quote, `stale` (unchanged), `warm_up` (little known yet) and `gap`
    (see `after_gap`)."""
    codes: NDArray[np.intp] = (
        (returns.before < 0) * 1
        + ~returns.changed * 2
        + (returns.number < PARAMETERS.warm_up_quotes) * 4
        + after_gap(returns) * 8
    )
    return codes.astype(np.int8)


def after_gap(returns: Returns) -> NDArray[np.bool_]:
    """Whether quotes are missing before this one: its interval is much longer than each of the last few.

    Also true of the quotes after it until the price has changed, because their return began before.
    """
    step = returns.step
    longest: Floats = np.full(len(step), np.inf)
    recent = PARAMETERS.gap_intervals
    if len(step) > recent + 1:
        windows = [step[1 + back : len(step) - recent + back] for back in range(recent)]
        longest[recent + 1 :] = np.maximum.reduce(windows)
    gap = (step > PARAMETERS.gap_ratio * longest) & (step > PARAMETERS.gap_minutes)
    if gap.any() and not returns.changed.all():
        opened = np.maximum.accumulate(np.where(gap, np.arange(len(gap)), -1))
        gap = (opened >= 0) & (opened > returns.before)
    marked: NDArray[np.bool_] = gap
    return marked
