"""The median of a few columns, row by row, where some are not known."""

from collections.abc import Sequence

import numpy as np

from market_pipeline.anomalies.scores.returns import Floats


def median(columns: Sequence[Floats], least: int) -> Floats:
    """The median of each row over `columns`, NaN where fewer than `least` are known."""
    middle = _median_of_all([column.copy() for column in columns])
    unknown = np.flatnonzero(np.isnan(middle))
    if len(unknown):
        some = np.sort(np.array([column[unknown] for column in columns]), axis=0)  # NaN comes last.
        count = np.isfinite(some).sum(axis=0)
        row = np.arange(len(unknown))
        value = (some[np.maximum(count - 1, 0) // 2, row] + some[count // 2 % len(columns), row]) / 2
        middle[unknown] = np.where(count >= least, value, np.nan)
    return middle


def _median_of_all(columns: list[Floats]) -> Floats:
    """The median where all are known, else NaN; by compare and exchange, which beats sorting few columns."""
    for last in range(len(columns) - 1, len(columns) // 2 - 1, -1):
        for lower in range(last):
            low, high = columns[lower], columns[lower + 1]
            columns[lower], columns[lower + 1] = np.minimum(low, high), np.maximum(low, high)
    upper = columns[len(columns) // 2]
    if len(columns) % 2:
        return upper
    below = columns[0]
    for column in columns[1 : len(columns) // 2]:
        below = np.maximum(below, column)
    middle: Floats = (below + upper) / 2
    return middle
