"""The silences of the last day, by index look-ups: the cost is the same however much is stored."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, and_, func, literal, or_, select, type_coerce
from sqlalchemy import Interval as DatabaseInterval

from market_pipeline.core.clock import MICROSECOND
from market_pipeline.prices.gaps import Interval
from market_pipeline.prices.holes import RecentPrices
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp


def recent_silences(
    database: Database, symbols: Sequence[str], since: datetime, now: datetime, longest: timedelta
) -> dict[str, RecentPrices]:
    """The newest price of each symbol and the stretches longer than `longest` without a price that end
    after `since`, in the order of `symbols`. A symbol without any price until `now` is left out."""
    found = {}
    with database.reading() as connection:
        for symbol in symbols:
            rows = connection.execute(_silences(database, symbol, since, now + FUTURE_TOLERANCE, longest)).all()
            newest = [row.at for row in rows if row.later is None]
            if newest:
                silences = tuple(Interval(row.at, row.later) for row in rows if row.later is not None)
                found[symbol] = RecentPrices(newest[0], silences)
    return found


def _silences(
    database: Database, symbol: str, since: datetime, until: datetime, longest: timedelta
) -> Select[Any]:
    """Each price that is followed by a long silence, and the newest one, which is followed by none."""
    time = raw_prices.c.timestamp
    here = of_symbol(database, raw_prices, symbol)
    before = select(func.max(time)).where(here, time < since).scalar_subquery()
    first = func.coalesce(before, literal(since, UtcTimestamp()))
    following = func.lead(time, type_=UtcTimestamp()).over(order_by=time)
    known = and_(here, time >= first, time <= until)
    pairs = select(time.label("at"), following.label("later")).where(known).subquery()
    at, later = pairs.c.at, pairs.c.later
    long = _longer(later, at, longest, database.dialect)
    return select(at, later).where(or_(later.is_(None), long)).order_by(at)


def _longer(
    later: ColumnElement[Any], earlier: ColumnElement[Any], span: timedelta, dialect: str
) -> ColumnElement[bool]:
    if dialect == "sqlite":
        distance = type_coerce(later, BigInteger) - type_coerce(earlier, BigInteger)
        return distance > span // MICROSECOND
    return later.op("-")(earlier).op(">")(literal(span, DatabaseInterval()))
