"""Candles of one symbol, computed from its stored quotes.

Quotes are read as two arrays and combined by `candles_of`. That is as fast as SQL on either database, and the rules for
bad ticks and intervals exist once. Bad ticks and quotes that lie in the future are left out. Long times are read from
SQLite through Arrow, as the driver takes twice as long to hand out the rows.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import ColumnElement, Connection, LargeBinary, func, literal_column, select

from market_pipeline.core.clock import DAY, EPOCH, MICROSECOND, to_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.logs import get_logger
from market_pipeline.prices.candles import CANDLE_COLUMNS, candles_of, next_opening, opening
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.bad_ticks import good_quotes
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import raw_prices

logger = get_logger(__name__)

# Arrow takes some milliseconds to begin: of a month of quotes every 5 minutes both ways cost the same.
_THROUGH_ARROW = 60 * DAY
_QUOTE = np.dtype([("timestamp", np.int64), ("price", np.float64)])
# PostgreSQL sends a time as microseconds since 2000, and its numbers in network order.
_SENT_QUOTE = np.dtype([("timestamp", ">i8"), ("price", ">f8")])
_POSTGRESQL_EPOCH = to_microseconds(EPOCH.replace(year=2000))


def read_candles(
    database: Database,
    symbol: str,
    interval: timedelta,
    start: datetime | None,
    end: datetime,
    limit: int,
    now: datetime,
    columns: Sequence[str] = CANDLE_COLUMNS,
) -> Columns:
    """Return the newest `limit` candles of `symbol` that open from `start` on and before `end`, ordered by time.

    The `columns` are some of those of `candles_of`. Each candle is of its whole interval, as of `now`. The cost follows
    the quotes of `limit` intervals and those between them.
    """
    parts = [candles_of(np.array([], "datetime64[us]"), np.array([]), interval)]
    future = now + FUTURE_TOLERANCE + MICROSECOND
    first = next_opening(min(start, future), interval) if start else None
    stop = min(next_opening(min(end, future), interval), future)
    found = 0
    while found < limit and (newest := _newest_before(database, symbol, stop)):
        # Empty intervals have no candle: what is missing is looked for further back.
        begin = opening(newest, interval) - (limit - 1) * interval
        begin = max(begin, first) if first else begin
        if newest < begin:
            break
        parts.append(candles_of(*quotes_between(database, symbol, begin, newest), interval))
        found, stop = found + len(parts[-1]), begin
    return Columns({name: np.concatenate([part[name] for part in parts[::-1]])[-limit:] for name in columns})


def quotes_between(
    database: Database, symbol: str, first: datetime, last: datetime
) -> tuple[NDArray[np.datetime64], NDArray[np.float64]]:
    """Return times and prices of `symbol` from `first` to `last`, both inside, ordered by time, without bad ticks.

    It takes one connection at a time, as the pool has one for each thread of the API.
    """
    here = of_symbol(database, raw_prices, symbol), raw_prices.c.timestamp.between(first, last)
    found = None
    if database.dialect == "sqlite" and last - first >= _THROUGH_ARROW:
        found = _read_arrow(database, symbol, here)
    read = _read_sqlite if database.dialect == "sqlite" else _read_postgresql
    with database.reading() as connection:
        times, prices = found or read(connection, here)
        good = good_quotes(connection, database, symbol, times, prices)
    return times[good].view("datetime64[us]"), prices[good]


def _newest_before(database: Database, symbol: str, end: datetime) -> datetime | None:
    time = raw_prices.c.timestamp
    newest = select(func.max(time)).where(of_symbol(database, raw_prices, symbol), time < end)
    with database.reading() as connection:
        found: datetime | None = connection.execute(newest).scalar()
    return found


def _read_sqlite(
    connection: Connection, here: tuple[ColumnElement[bool], ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Fill the arrays from the driver's cursor: half the cost of lists of rows."""
    stored = select(readable(raw_prices.c.timestamp, "sqlite"), raw_prices.c.price).where(*here)
    cursor: Any = connection.execute(stored.order_by(raw_prices.c.timestamp)).cursor
    quotes = np.fromiter(cursor, _QUOTE)
    return np.ascontiguousarray(quotes["timestamp"]), np.ascontiguousarray(quotes["price"])


def _read_arrow(
    database: Database, symbol: str, here: tuple[ColumnElement[bool], ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]] | None:
    """Return None where Arrow cannot be used, as where TMPDIR is full: it is faster, but not needed."""
    from market_pipeline.storage.rows import bulk

    columns = raw_prices.c.timestamp, raw_prices.c.price
    stored = select(*columns).where(*here).order_by(raw_prices.c.timestamp)
    names = [column.name for column in columns]
    try:
        quotes = bulk.columns_of_arrow(bulk.read_table(database, raw_prices, names, [stored], [symbol]))
    except DatabaseUnavailable as error:
        logger.warning("Reading without Arrow, which is slower. %s", error)
        return None
    return quotes["timestamp"].view(np.int64), quotes["price"]


def _read_postgresql(
    connection: Connection, here: tuple[ColumnElement[bool], ...]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read all quotes as one binary string: a sixth of the cost of rows, which travel as text."""
    from sqlalchemy.dialects.postgresql import aggregate_order_by

    columns = raw_prices.c
    sent = func.timestamptz_send(columns.timestamp).op("||")(func.float8send(columns.price))
    nothing: ColumnElement[bytes] = literal_column("''::bytea", LargeBinary)
    joined = func.string_agg(sent, aggregate_order_by(nothing, columns.timestamp), type_=LargeBinary())
    found = connection.execute(select(joined).where(*here)).scalar()
    quotes = np.frombuffer(found or b"", _SENT_QUOTE)
    return quotes["timestamp"].astype(np.int64) + _POSTGRESQL_EPOCH, quotes["price"].astype(np.float64)
