"""Thin old prices to one an hour."""

from collections.abc import Iterator
from datetime import datetime, timedelta

from sqlalchemy import ColumnElement, and_, delete, func, select, union

from market_pipeline.core.clock import DAY, MICROSECOND, start_of_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import first_times
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies, raw_prices

# One transaction: a tick that wants to write waits for it.
_SPAN = 30 * DAY
_HOUR = timedelta(hours=1) // MICROSECOND


def thin_prices(database: Database, before: datetime) -> int:
    """Delete all but one price an hour of each symbol before `before` (aware UTC), a midnight; return how many.

    The first price of an hour stays that no anomaly refers to, and every price that an anomaly or a mark refers to. So
    does the last one before more than an hour without a price: no day gets a longer gap than two hours by this. Doing
    it again changes nothing.
    """
    deleted = 0
    for symbol, start, end in _spans(database, before):
        with database.writing(raw_prices) as connection:
            superfluous = _superfluous(database, symbol, start, end)
            deleted += connection.execute(delete(raw_prices).where(superfluous)).rowcount
    return deleted


def count_superfluous(database: Database, before: datetime) -> int:
    """Return how many prices `thin_prices` would delete."""
    found = 0
    for symbol, start, end in _spans(database, before):
        with database.reading() as connection:
            superfluous = _superfluous(database, symbol, start, end)
            found += connection.execute(select(func.count()).select_from(raw_prices).where(superfluous)).scalar_one()
    return found


def _spans(database: Database, before: datetime) -> Iterator[tuple[str, datetime, datetime]]:
    """Yield each configured symbol with the beginnings and ends of stretches of its prices before `before`."""
    for symbol, first in first_times(database, list(database.coins)).items():
        start = start_of_day(first.date())
        while start < before:
            yield symbol, start, min(start + _SPAN, before)
            start += _SPAN


def _superfluous(database: Database, symbol: str, start: datetime, end: datetime) -> ColumnElement[bool]:
    """Select the prices of `symbol` from `start` to `end`, both midnights, that are not kept."""
    time, mine = raw_prices.c.timestamp, of_symbol(database, raw_prices, symbol)
    at = readable(time, database.dialect)
    anomalies, marks = price_anomalies.c, anomaly_marks.c
    named = union(
        *(
            select(column).where(of, column >= start, column < end)
            for of, columns in (
                (anomalies.symbol == symbol, (anomalies.timestamp, anomalies.timestamp_before, anomalies.confirmed_at)),
                (marks.symbol == symbol, (marks.timestamp, marks.timestamp_before)),
            )
            for column in columns
        )
    ).subquery()
    # The day after `end` shows what follows the last price.
    quotes = (
        select(time.label("time"), at.label("at"), time.in_(select(named)).label("named"))
        .where(mine, time >= start, time < end + DAY)
        .subquery()
        .c
    )
    hour = quotes.at.op("/")(_HOUR)
    placed = select(
        quotes.time,
        quotes.named,
        func.row_number().over(partition_by=hour, order_by=(quotes.named, quotes.at)).label("place"),
        (func.lead(quotes.at).over(order_by=quotes.at) - quotes.at).label("until_next"),
    ).subquery()
    columns = placed.c
    wanted = select(columns.time).where(columns.place > 1, ~columns.named, columns.until_next <= _HOUR)
    return and_(mine, time >= start, time < end, time.in_(wanted))
