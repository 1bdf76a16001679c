"""Running a loop over rows: as it is where there are few, compiled where there are many.

Importing Numba takes longer than a whole tick, so a tick must do without it; millions of rows cannot.
The loops are plain arithmetic on numbers, so both ways give the same results to the last bit
(docs/decisions/0008; a test compares them).
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# From here on loading Numba pays for itself.
COMPILED_FROM = 150_000


def run(
    loop: Callable[..., Any],
    rows: Sequence[Floats],
    numbers: Sequence[float],
    outputs: int,
    tables: Sequence[Floats] = (),
) -> list[Floats]:
    """Call `loop(rows, numbers, tables, out)`; the `outputs` arrays that it filled, of the length of the rows."""
    size = len(rows[0])
    if size >= COMPILED_FROM or "numba" in sys.modules:
        arrays = tuple(np.zeros(size) for _ in range(outputs))
        contiguous = tuple(np.ascontiguousarray(row) for row in rows)
        _compiled(loop)(contiguous, tuple(map(float, numbers)), tuple(tables), arrays)
        return list(arrays)
    # Numbers in lists are several times as fast to reach as in arrays.
    lists = tuple([0.0] * size for _ in range(outputs))
    loop([row.tolist() for row in rows], numbers, [table.tolist() for table in tables], lists)
    return [np.array(values, dtype=np.float64) for values in lists]


@lru_cache
def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """`loop` as machine code, kept on disk between processes where that is possible."""
    import numba

    machine_code: Callable[..., Any] = numba.njit(cache=True)(loop)
    return machine_code
