"""Bad ticks: prices that later quotes have undone. Which of some quotes they are."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Connection, Select, bindparam, literal_column, select

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import DAY, from_microseconds
from market_pipeline.prices.quotes import Quality
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import price_anomalies

if TYPE_CHECKING:
    import pyarrow as pa


class BadTick(NamedTuple):
    """A price that later quotes have undone: microseconds since 1970 UTC, `end` excluded; prices in US dollars."""

    start: int
    end: int
    before: float
    printed: float


def bad_ticks(connection: Connection, database: Database, symbol: str, oldest: int, newest: int) -> list[BadTick]:
    """Return the bad ticks that may concern quotes of `symbol` from `oldest` to `newest` (microseconds since 1970 UTC).

    The cost follows the anomalies of that time: a range of the key. Days are scored one by one, so no bad tick lasts
    longer than a day.
    """
    parameters = {
        "symbol": symbol, "coin_id": database.coin_id(symbol),
        "oldest": from_microseconds(oldest) - DAY, "newest": from_microseconds(newest),
    }
    return [BadTick(*row) for row in connection.execute(_rows(database.dialect), parameters)]


def are_bad(times: NDArray[np.int64], prices: NDArray[np.float64], ticks: Sequence[BadTick]) -> NDArray[np.bool_]:
    """Return which of these quotes, in the order of time, belong to one of `ticks`."""
    bad = np.zeros(len(times), dtype=bool)
    starts = np.searchsorted(times, [tick.start for tick in ticks])
    ends = np.searchsorted(times, [tick.end for tick in ticks])
    for tick, start, end in zip(ticks, starts, ends, strict=True):
        if start < len(times) and times[start] == tick.start:
            bad[start] = True
        logs = np.log(prices[start:end])
        bad[start:end] |= np.abs(logs - np.log(tick.printed)) < np.abs(logs - np.log(tick.before))
    return bad


def good_quotes(
    connection: Connection, database: Database, symbol: str, times: NDArray[np.int64], prices: NDArray[np.float64]
) -> NDArray[np.bool_]:
    """Return which quotes of `symbol` are no bad ticks; they are in the order of time (microseconds since 1970 UTC)."""
    if not len(times):
        return np.zeros(0, dtype=bool)
    return ~are_bad(times, prices, bad_ticks(connection, database, symbol, int(times[0]), int(times[-1])))


def qualities(good: NDArray[np.bool_]) -> pa.Array:
    """Return the column `quality` of quotes, of which these are good."""
    import pyarrow as pa

    names = [Quality.BAD_TICK.value, Quality.OK.value]
    return pa.DictionaryArray.from_arrays(good.astype(np.int8), names).cast(pa.string())


@cache
def _rows(dialect: str) -> Select[Any]:
    rows = price_anomalies.c
    start, end = readable(rows.timestamp, dialect), readable(rows.detected_at, dialect)
    return select(start, end, rows.price_before, rows.price_after).where(
        rows.symbol == bindparam("symbol"),
        rows.coin_id == bindparam("coin_id"),
        rows.timestamp >= bindparam("oldest"),
        rows.timestamp <= bindparam("newest"),
        rows.kind == literal_column(f"'{Kind.BAD_TICK.value}'"),
    )
