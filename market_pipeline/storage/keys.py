"""Rows told apart by their key and assigned to slices, on whole arrays of integers at once.

A text is represented by its rank among the texts of its column, a time by its microseconds and a day
by its number since 1970.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta

import numpy as np
from numpy.typing import NDArray

from market_pipeline.slices import Slice

Integers = NDArray[np.int64]

MICROSECONDS_PER_DAY = 86_400_000_000
_EPOCH = date(1970, 1, 1)


@dataclass(frozen=True)
class Ranked:
    """A text column: its texts in order, and the rank of each row's."""

    texts: list[str]
    ranks: Integers


def last_of_each_key(key: Sequence[Integers]) -> NDArray[np.intp] | None:
    """Which rows to take, in order of the key and of equal keys the last; None if they are so already."""
    greater = np.zeros(max(len(key[0]) - 1, 0), dtype=np.bool_)
    equal = ~greater
    for column in key:
        greater |= equal & (column[1:] > column[:-1])
        equal &= column[1:] == column[:-1]
    if greater.all():
        return None
    order = np.lexsort(list(reversed(key)))
    same_as_next = np.ones(len(order) - 1, dtype=np.bool_)
    for column in key:
        ordered = column[order]
        same_as_next &= ordered[1:] == ordered[:-1]
    kept: NDArray[np.intp] = order[np.append(~same_as_next, True)]
    return kept


def require_inside(table_name: str, symbols: Ranked, days: Integers, slices: Sequence[Slice]) -> None:
    """ValueError if a row belongs to none of `slices`: the next replacement would leave it."""
    astray = _outside(symbols, days, slices)
    if len(astray):
        symbol, day = symbols.texts[symbols.ranks[astray[0]]], _EPOCH + timedelta(days=int(days[astray[0]]))
        raise ValueError(
            f"{len(astray)} rows for {table_name} lie outside the partitions that are replaced, "
            f"the first being {symbol} {day}"
        )


def _outside(symbols: Ranked, days: Integers, slices: Sequence[Slice]) -> NDArray[np.intp]:
    rank = {symbol: number for number, symbol in enumerate(symbols.texts)}
    count = max(len(rank), 1)
    allowed = [
        np.arange(_number(part.first), _number(part.last) + 1) * count + rank[part.symbol]
        for part in slices
        if part.symbol in rank
    ]
    inside = np.isin(days * count + symbols.ranks, np.concatenate(allowed) if allowed else [])
    return np.flatnonzero(~inside)


def _number(day: date) -> int:
    return (day - _EPOCH).days
