"""Run a loop over rows: interpreted for few rows, compiled by Numba for many.

Importing Numba takes longer than a whole tick, so a tick runs interpreted; millions of rows need the compiler. The
loops are plain arithmetic on numbers, so both ways give bit-identical results (docs/decisions/0008; a test compares
them).
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from typing import Any

import numpy as np

from market_pipeline.anomalies.series import Floats

# From this many rows on, importing Numba pays for itself.
COMPILED_FROM = 150_000


def run(
    loop: Callable[..., Any],
    rows: Sequence[Floats],
    numbers: Sequence[float],
    outputs: int,
    tables: Sequence[Floats] = (),
) -> list[Floats]:
    """Call `loop(rows, numbers, tables, out)` and return the `outputs` arrays that it fills, as long as the rows."""
    size = len(rows[0])
    if size >= COMPILED_FROM or "numba" in sys.modules:
        arrays = tuple(np.zeros(size) for _ in range(outputs))
        contiguous = tuple(np.ascontiguousarray(row) for row in rows)
        _compiled(loop)(contiguous, tuple(map(float, numbers)), tuple(tables), arrays)
        return list(arrays)
    # Lists are several times as fast as arrays to index in Python.
    lists = tuple([0.0] * size for _ in range(outputs))
    loop([row.tolist() for row in rows], numbers, [table.tolist() for table in tables], lists)
    return [np.array(values, dtype=np.float64) for values in lists]


def load_compiler(rows: int) -> None:
    """Import Numba if a call of `run` is to come for each of several series with this many rows in total."""
    if rows >= COMPILED_FROM:
        import_module("numba")


@lru_cache
def _compiled(loop: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `loop`, cached on disk where possible."""
    import numba

    compiled: Callable[..., Any]
    try:
        compiled = numba.njit(cache=True)(loop)
    except RuntimeError:  # Neither the package's folder nor the user's cache is writable.
        compiled = numba.njit(loop)
    return compiled
