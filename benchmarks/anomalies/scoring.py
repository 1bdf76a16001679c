"""From scores to recall, its standard error and F1 at a fixed number of false alarms.

The threshold of a detector is set on the controls of its world, the same paths without jumps, so that it
gives the wanted number of alarms per 10,000 quotes; recall and F1 are then taken on the series with jumps.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomalies.volatility import Floats
from benchmarks.anomalies.worlds import JUMP_SIZES, WARM_UP

FALSE_ALARMS = (1, 10)  # per 10,000 quotes
_KEPT_SHARE = 0.02  # of the highest scores of a series: more than any threshold here looks at


@dataclass(frozen=True)
class Tail:
    """What is kept of one series: its highest scores. All that recall and F1 need, and small."""

    quotes: int  # judged in the control, and as many in the series with jumps
    control: Floats
    others: Floats  # highest scores of the series with jumps at quotes without one
    at_jumps: Floats
    sizes: Floats


@dataclass(frozen=True)
class Recall:
    """Recall of each of JUMP_SIZES at one false alarm rate."""

    threshold: float
    recalls: tuple[float, ...]
    errors: tuple[float, ...]  # binomial standard errors
    f1: float
    jumps: int


def tail(control: Floats, scores: Floats, jump_at: NDArray[np.int64], sizes: Floats) -> Tail:
    """Keep of one series' scores, on its control and with jumps, what the measures need."""
    inside = jump_at < len(scores)
    jump_at, sizes = jump_at[inside], sizes[inside]
    others = np.delete(scores, jump_at)[WARM_UP:]
    return Tail(len(control) - WARM_UP, _highest(control[WARM_UP:]), _highest(others), scores[jump_at], sizes)


def recall(tails: Sequence[Tail], per_ten_thousand: float) -> Recall:
    """Recall over all series of a world with one threshold for all of them."""
    quotes = sum(t.quotes for t in tails)
    threshold = threshold_for(np.concatenate([t.control for t in tails]), quotes * per_ten_thousand / 10_000)
    sizes = np.concatenate([t.sizes for t in tails])
    found = np.concatenate([t.at_jumps for t in tails]) > threshold
    recalls, errors = zip(*(share(found[sizes == size]) for size in JUMP_SIZES), strict=True)
    false = int((np.concatenate([t.others for t in tails]) > threshold).sum())
    f1 = 2 * int(found.sum()) / (int(found.sum()) + false + len(found))
    return Recall(threshold, recalls, errors, f1, len(found))


def threshold_for(scores: Floats, alarms: float) -> float:
    """The score that about `alarms` of the scores exceed, never more; ties count as not exceeding."""
    ordered = np.sort(scores)[::-1]
    return float(ordered[min(int(alarms), len(ordered) - 1)])


def share(found: NDArray[np.bool_]) -> tuple[float, float]:
    """The share that was found and its binomial standard error; both nan for none."""
    if not len(found):
        return float("nan"), float("nan")
    part = float(found.mean())
    return part, float(np.sqrt(part * (1 - part) / len(found)))


def _highest(scores: Floats) -> Floats:
    kept = max(1, int(len(scores) * _KEPT_SHARE))
    return np.partition(np.nan_to_num(scores, nan=-np.inf), len(scores) - kept)[-kept:]
