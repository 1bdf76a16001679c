"""Bad ticks among stored prices. Their rows stay as they are; readers mark them and never take one as latest price.

A row of kind `bad_tick` is written once a later quote has undone the print, at `detected_at`. It represents every quote
from the print until then that is nearer to the bad print than to the price before it.
"""

from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, bindparam, literal_column, select

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.clock import DAY
from market_pipeline.storage.engine import Database
from market_pipeline.storage.read import readable
from market_pipeline.storage.tables import price_anomalies
from market_pipeline.storage.types import from_microseconds


class BadTick(NamedTuple):
    """The times as microseconds since 1970 UTC, `end` not included; the prices in US dollars."""

    start: int
    end: int
    before: float
    printed: float


def bad_ticks(connection: Connection, database: Database, symbol: str, oldest: int, newest: int) -> list[BadTick]:
    """The bad ticks that may concern quotes of `symbol` from `oldest` to `newest` (microseconds since 1970 UTC).

    The cost follows the anomalies of that time: a range of the key. A day is scored alone, so none lasts longer.
    """
    span = {
        "symbol": symbol, "coin_id": database.coin_id(symbol),
        "oldest": from_microseconds(oldest) - DAY, "newest": from_microseconds(newest),
    }
    return [BadTick(*row) for row in connection.execute(_bad_ticks(database.dialect), span)]


def are_bad(times: NDArray[np.int64], prices: NDArray[np.float64], ticks: Sequence[BadTick]) -> NDArray[np.bool_]:
    """Which of these quotes, in the order of time, belong to one of `ticks`."""
    bad = np.zeros(len(times), dtype=bool)
    starts = np.searchsorted(times, [tick.start for tick in ticks])
    ends = np.searchsorted(times, [tick.end for tick in ticks])
    for tick, start, end in zip(ticks, starts, ends):
        if start < len(times) and times[start] == tick.start:
            bad[start] = True
        logs = np.log(prices[start:end])
        bad[start:end] |= np.abs(logs - np.log(tick.printed)) < np.abs(logs - np.log(tick.before))
    return bad


@cache
def _bad_ticks(dialect: str) -> Select[Any]:
    rows = price_anomalies.c
    start, end = readable(rows.timestamp, dialect), readable(rows.detected_at, dialect)
    return select(start, end, rows.price_before, rows.price_after).where(
        rows.symbol == bindparam("symbol"),
        rows.coin_id == bindparam("coin_id"),
        rows.timestamp >= bindparam("oldest"),
        rows.timestamp <= bindparam("newest"),
        rows.kind == literal_column(f"'{Kind.BAD_TICK.value}'"),
    )
