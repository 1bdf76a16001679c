"""The silences of the last day, by index look-ups: the cost is the same however much is stored."""

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Interval, Select, and_, func, literal, or_, select, type_coerce

from market_pipeline.core.clock import MICROSECOND
from market_pipeline.prices import gaps
from market_pipeline.prices.holes import RecentPrices
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol, united
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp


def recent_silences(
    database: Database, symbols: Sequence[str], since: datetime, now: datetime, longest: timedelta
) -> dict[str, RecentPrices]:
    """Return the newest price of each symbol and its silences: stretches without a price longer than `longest`.

    Only silences that end after `since` count. The result is in the order of `symbols`; a symbol without any
    price until `now` is left out.
    """
    statements = [_silences(database, symbol, since, now + FUTURE_TOLERANCE, longest) for symbol in symbols]
    pairs: dict[str, list[tuple[datetime, datetime | None]]] = defaultdict(list)
    with database.reading() as connection:
        for statement in united(statements):
            for symbol, at, following in connection.execute(statement):
                pairs[symbol].append((at, following))
    found = {}
    for symbol in symbols:
        newest = [at for at, following in pairs[symbol] if following is None]
        if newest:
            ended = sorted((at, following) for at, following in pairs[symbol] if following is not None)
            found[symbol] = RecentPrices(newest[0], tuple(gaps.Interval(at, following) for at, following in ended))
    return found


def _silences(
    database: Database, symbol: str, since: datetime, until: datetime, longest: timedelta
) -> Select[Any]:
    """Select each price that is followed by a long silence, and the newest one, which is followed by no price."""
    time = raw_prices.c.timestamp
    here = of_symbol(database, raw_prices, symbol)
    before = select(func.max(time)).where(here, time < since).scalar_subquery()
    first = func.coalesce(before, literal(since, UtcTimestamp()))
    following = func.lead(time, type_=UtcTimestamp()).over(order_by=time)
    known = and_(here, time >= first, time <= until)
    pairs = select(time.label("at"), following.label("following")).where(known).subquery()
    at, later = pairs.c.at, pairs.c.following
    return select(literal(symbol), at, later).where(or_(later.is_(None), _longer(at, later, longest, database.dialect)))


def _longer(
    earlier: ColumnElement[Any], later: ColumnElement[Any], span: timedelta, dialect: str
) -> ColumnElement[bool]:
    if dialect == "sqlite":
        distance = type_coerce(later, BigInteger) - type_coerce(earlier, BigInteger)
        return distance > span // MICROSECOND
    return later.op("-")(earlier).op(">")(literal(span, Interval()))
