"""Prices of one symbol, newest first: a page of them as plain rows, or very many as an Arrow table.

Both follow the table's key backwards from where they begin, so the cost follows the rows returned.
Quotes that lie in the future are left out, and bad ticks are marked.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import ColumnElement, Connection, Integer, Select, Text, bindparam, literal_column, select

from market_pipeline.core.clock import MICROSECOND, from_microseconds, to_microseconds
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, Quality
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.bad_ticks import are_bad, bad_ticks, good_quotes, qualities
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import raw_prices

if TYPE_CHECKING:
    import pyarrow as pa

_STORED = ("timestamp", "price", "source", "ingested_at")
COLUMNS = (*_STORED, "quality")

# The values of `COLUMNS`: the times as microseconds since 1970 UTC, the price in US dollars.
Point = tuple[int, float, str, int, str]

# The newest quote is seldom a bad tick: only later quotes can show that it is one.
_FEW = 3


@dataclass(frozen=True)
class PriceQuery:
    """At most `rows` of the newest prices of `symbol`, from `start` on and before `end` (aware UTC)."""

    symbol: str
    start: datetime | None
    end: datetime | None
    rows: int


def newest_points(database: Database, query: PriceQuery, now: datetime) -> list[Point]:
    """Return the points of `query` as of `now` through the ordinary driver: for some thousands of rows."""
    with database.reading() as connection:
        points = _points(connection, database, query)
        if points and (past := _without_future(query, points[0][0], now)):
            points = _points(connection, database, past)
        return points


def newest_table(
    database: Database, query: PriceQuery, now: datetime, cancelled: threading.Event | None = None
) -> pa.Table:
    """Return the same rows as `COLUMNS` in Arrow, times as timestamps in UTC: for a million rows.

    On PostgreSQL it raises ReadCancelled once `cancelled` is set.
    """
    table = _stored_table(database, query, cancelled)
    if len(table) and (past := _without_future(query, table["timestamp"][0].value, now)):
        table = _stored_table(database, past, cancelled)
    return table.append_column("quality", _qualities(database, query.symbol, table))


def latest_points(database: Database, symbols: Sequence[str], at: datetime) -> dict[str, Point]:
    """Return the newest point at or before `at`, bad ticks passed over, of each symbol that has one."""
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


def _without_future(query: PriceQuery, newest: int, now: datetime) -> PriceQuery | None:
    """Bound `query` by `now` if its newest row, at `newest`, lies in the future; else None.

    Only then, as a bound misleads PostgreSQL: see `_rows`.
    """
    latest = now + FUTURE_TOLERANCE
    return replace(query, end=latest + MICROSECOND) if newest > to_microseconds(latest) else None


def _points(connection: Connection, database: Database, query: PriceQuery) -> list[Point]:
    statement = _readable_rows(database.dialect, query.start is not None, query.end is not None)
    points: list[Any] = list(connection.execute(statement, _parameters(database, query)))
    ticks = bad_ticks(connection, database, query.symbol, points[-1][0], points[0][0]) if points else []
    if ticks:
        times, prices = (np.array([point[column] for point in reversed(points)]) for column in (0, 1))
        for place in np.flatnonzero(are_bad(times, prices, ticks)[::-1]).tolist():
            points[place] = (*points[place][:-1], Quality.BAD_TICK.value)
    return points


def _stored_table(database: Database, query: PriceQuery, cancelled: threading.Event | None) -> pa.Table:
    from market_pipeline.storage.rows import bulk

    columns = [raw_prices.c[name] for name in _STORED]
    statement = _rows(columns, query.start is not None, query.end is not None).params(_parameters(database, query))
    return bulk.read_table(database, raw_prices, _STORED, [statement], [query.symbol], cancelled)


def _qualities(database: Database, symbol: str, table: pa.Table) -> pa.Array:
    """Return the column `quality` of prices of `symbol`, newest first."""
    import pyarrow as pa

    times = table["timestamp"].cast(pa.int64()).to_numpy()[::-1]
    with database.reading() as connection:
        good = good_quotes(connection, database, symbol, times, table["price"].to_numpy()[::-1])
    return qualities(good[::-1])


def _parameters(database: Database, query: PriceQuery) -> dict[str, Any]:
    return {**asdict(query), "coin_id": database.coin_id(query.symbol)}


@cache
def _readable_rows(dialect: str, from_start: bool, to_end: bool) -> Select[Any]:
    ok: ColumnElement[str] = literal_column(f"'{Quality.OK.value}'", Text)
    return _rows([*(readable(raw_prices.c[name], dialect) for name in _STORED), ok], from_start, to_end)


def _rows(columns: Sequence[ColumnElement[Any]], from_start: bool, to_end: bool) -> Select[Any]:
    key = raw_prices.c
    rows = select(*columns).where(key.symbol == bindparam("symbol"), key.coin_id == bindparam("coin_id"))
    # Omit an unbounded time filter: before ANALYZE, PostgreSQL assumes it is selective and sorts the table.
    if from_start:
        rows = rows.where(key.timestamp >= bindparam("start"))
    if to_end:
        rows = rows.where(key.timestamp < bindparam("end"))
    return rows.order_by(key.timestamp.desc()).limit(bindparam("rows", type_=Integer))
