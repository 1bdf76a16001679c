"""Prices of one symbol, newest first: a page of them as plain rows, or very many as an Arrow table.

Both follow the key of the table backwards from where they begin, so the cost is that of the rows given. Quotes that lie
in the future are left out, and bad ticks are marked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, Integer, Select, Text, bindparam, literal_column, select

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import DAY, MICROSECOND, from_microseconds, to_microseconds
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quality
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

if TYPE_CHECKING:
    import pyarrow as pa


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


_STORED = ("timestamp", "price", "source", "ingested_at")
COLUMNS = (*_STORED, "quality")

# By whether a quote is a bad tick.
_QUALITIES = (Quality.OK.value, Quality.BAD_TICK.value)
# The newest quote is seldom a bad tick: later quotes have undone it.
_FEW = 3


@dataclass(frozen=True)
class PriceQuery:
    """At most `rows` of the newest prices of `symbol`, from `start` on and before `end` (aware UTC)."""

    symbol: str
    start: datetime | None
    end: datetime | None
    rows: int


# What `COLUMNS` hold: the times as microseconds since 1970 UTC, the price in US dollars.
Point = tuple[int, float, str, int, str]


def newest_points(database: Database, asked: PriceQuery, now: datetime) -> list[Point]:
    """What is asked, as of `now`, through the ordinary driver: for some thousands of rows."""
    with database.reading() as connection:
        points = _points(connection, database, asked)
        if points and (known := _known(asked, points[0][0], now)):
            points = _points(connection, database, known)
        return points


def newest_table(
    database: Database, asked: PriceQuery, now: datetime, cancelled: threading.Event | None = None
) -> pa.Table:
    """The same rows as `COLUMNS` in Arrow, times as timestamps in UTC: for a million rows.

    PostgreSQL's work ends with ReadCancelled once `cancelled` is set.
    """
    table = _stored_table(database, asked, cancelled)
    if len(table) and (known := _known(asked, table["timestamp"][0].value, now)):
        table = _stored_table(database, known, cancelled)
    return table.append_column("quality", _qualities(database, asked.symbol, table))


def latest_points(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, Point]:
    """The newest point at or before `at` of each symbol that has one; bad ticks are passed over."""
    with database.reading() as connection:
        found = {symbol: _latest(connection, database, symbol, at) for symbol in symbols}
    return {symbol: point for symbol, point in found.items() if point is not None}


def _latest(connection: Connection, database: Database, symbol: str, at: datetime) -> Point | None:
    end = at + MICROSECOND
    while points := _points(connection, database, PriceQuery(symbol, None, end, _FEW)):
        for point in points:
            if point[-1] == Quality.OK.value:
                return point
        end = from_microseconds(points[-1][0])
    return None


def _known(asked: PriceQuery, newest: int, now: datetime) -> PriceQuery | None:
    """`asked` without the future, None if its first row, at `newest`, is none of it.

    Asked for only then: a limit of the time misleads PostgreSQL, see `_rows`.
    """
    latest = now + FUTURE_TOLERANCE
    return replace(asked, end=latest + MICROSECOND) if newest > to_microseconds(latest) else None


def _points(connection: Connection, database: Database, asked: PriceQuery) -> list[Point]:
    statement = _readable_rows(database.dialect, asked.start is not None, asked.end is not None)
    points: list[Any] = list(connection.execute(statement, _parameters(database, asked)))
    ticks = bad_ticks(connection, database, asked.symbol, points[-1][0], points[0][0]) if points else []
    if ticks:
        times, prices = (np.array([point[column] for point in reversed(points)]) for column in (0, 1))
        for place in np.flatnonzero(are_bad(times, prices, ticks)[::-1]).tolist():
            points[place] = (*points[place][:-1], Quality.BAD_TICK.value)
    return points


def _stored_table(database: Database, asked: PriceQuery, cancelled: threading.Event | None) -> pa.Table:
    from market_pipeline.storage.rows import bulk

    columns = [raw_prices.c[name] for name in _STORED]
    statement = _rows(columns, asked.start is not None, asked.end is not None).params(_parameters(database, asked))
    return bulk.read_table(database, raw_prices, _STORED, [statement], [asked.symbol], cancelled)


def _qualities(database: Database, symbol: str, table: pa.Table) -> pa.Array:
    """The column `quality` of prices of `symbol`, newest first."""
    import pyarrow as pa

    times = table["timestamp"].cast(pa.int64()).to_numpy()[::-1]
    bad = np.zeros(len(table), dtype=bool)
    if len(table):
        with database.reading() as connection:
            ticks = bad_ticks(connection, database, symbol, int(times[0]), int(times[-1]))
        bad = are_bad(times, table["price"].to_numpy()[::-1], ticks)[::-1]
    return pa.DictionaryArray.from_arrays(bad.astype(np.int8), _QUALITIES).cast(pa.string())


def _parameters(database: Database, asked: PriceQuery) -> dict[str, Any]:
    return {**asdict(asked), "coin_id": database.coin_id(asked.symbol)}


@cache
def _readable_rows(dialect: str, from_start: bool, to_end: bool) -> Select[Any]:
    ok: ColumnElement[str] = literal_column(f"'{Quality.OK.value}'", Text)
    return _rows([*(readable(raw_prices.c[name], dialect) for name in _STORED), ok], from_start, to_end)


def _rows(columns: Sequence[ColumnElement[Any]], from_start: bool, to_end: bool) -> Select[Any]:
    key = raw_prices.c
    rows = select(*columns).where(key.symbol == bindparam("symbol"), key.coin_id == bindparam("coin_id"))
    # Omit an unbounded time filter: before it has statistics, PostgreSQL assumes that any limit leaves few rows, and
    # sorts the table.
    if from_start:
        rows = rows.where(key.timestamp >= bindparam("start"))
    if to_end:
        rows = rows.where(key.timestamp < bindparam("end"))
    return rows.order_by(key.timestamp.desc()).limit(bindparam("rows", type_=Integer))
