"""Running a loop over rows: as it is where there are few, compiled where there are many.

Importing Numba takes longer than a whole tick, so a tick must do without it; millions of rows cannot.
The loops are plain arithmetic on numbers, so both ways give the same results to the last bit
(docs/decisions/0008; a test compares them).
"""

import sys
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
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
    """Call `loop(rows, numbers, tables, out)`; the `outputs` arrays that it filled, as long as the rows."""
    many = len(rows[0]) >= COMPILED_FROM or "numba" in sys.modules
    return (_compiled if many else _interpreted)(loop, rows, numbers, outputs, tables)


def load_compiler(rows: int) -> None:
    """Load Numba if the series to come have so many `rows` in all that it pays, however short each is."""
    if rows >= COMPILED_FROM:
        import_module("numba")


def _interpreted(
    loop: Callable[..., Any],
    rows: Sequence[Floats],
    numbers: Sequence[float],
    outputs: int,
    tables: Sequence[Floats],
) -> list[Floats]:
    # Numbers in lists are several times as fast to reach as in arrays.
    lists = tuple([0.0] * len(rows[0]) for _ in range(outputs))
    loop([row.tolist() for row in rows], numbers, [table.tolist() for table in tables], lists)
    return [np.array(values, dtype=np.float64) for values in lists]


def _compiled(
    loop: Callable[..., Any],
    rows: Sequence[Floats],
    numbers: Sequence[float],
    outputs: int,
    tables: Sequence[Floats],
) -> list[Floats]:
    arrays = tuple(np.zeros(len(rows[0])) for _ in range(outputs))
    contiguous = tuple(np.ascontiguousarray(row) for row in rows)
    _machine_code(loop)(contiguous, tuple(map(float, numbers)), tuple(tables), arrays)
    return list(arrays)


@lru_cache
def _machine_code(loop: Callable[..., Any]) -> Callable[..., Any]:
    """`loop` as machine code, kept on disk between processes where that is possible."""
    import numba

    machine_code: Callable[..., Any]
    try:
        machine_code = numba.njit(cache=True)(loop)
    except RuntimeError:  # Neither the package's folder nor one of the user's can be written to.
        machine_code = numba.njit(loop)
    return machine_code
