"""What is stored of each day, measured from the prices themselves."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Select, case, func, literal_column, select

from market_pipeline.core.clock import DAY, number_of_day
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice, of_symbol
from market_pipeline.storage.rows.read import MICROSECONDS_PER_DAY, readable
from market_pipeline.storage.schema.tables import raw_prices

# History has one point an hour; ticks add to them.
EXPECTED_POINTS = 24

_DAY: ColumnElement[int] = literal_column(str(MICROSECONDS_PER_DAY), BigInteger)


@dataclass(frozen=True)
class DayCoverage:
    """What is stored of one UTC day of a symbol.

    `expected` is how many points the day's history has, `largest_gap` the longest time of the whole
    day without a point, from midnight to midnight.
    """

    symbol: str
    day: date
    points: int
    expected: int
    largest_gap: timedelta


def day_coverage(database: Database, slices: Sequence[Slice]) -> list[DayCoverage]:
    """The coverage of every day of `slices`, in their order, days without any point included.

    One query a slice, over the rows of the slice in index order.
    """
    covered = []
    with database.reading() as connection:
        for part in slices:
            found = {row[0]: row for row in connection.execute(_days_of(database, part))}
            for day in part.days:
                number, points, *edges = found.get(number_of_day(day), (0, 0))
                gap = _largest_gap(number, *edges) if points else DAY
                covered.append(DayCoverage(part.symbol, day, points, EXPECTED_POINTS, gap))
    return covered


def first_times(database: Database, symbols: Sequence[str]) -> dict[str, datetime]:
    """When the first stored price of each symbol was true (UTC); one without any is left out."""
    time = raw_prices.c.timestamp
    found = {}
    with database.reading() as connection:
        for symbol in symbols:
            oldest = select(time).where(of_symbol(database, raw_prices, symbol)).order_by(time).limit(1)
            moment = connection.execute(oldest).scalar()
            if moment is not None:
                found[symbol] = moment
    return found


def first_days(database: Database, symbols: Sequence[str]) -> dict[str, date]:
    """The UTC day of the first stored price of each symbol; one without any is left out."""
    return {symbol: moment.date() for symbol, moment in first_times(database, symbols).items()}


def _largest_gap(number: int, first: int, last: int, between: int | None) -> timedelta:
    start = number * MICROSECONDS_PER_DAY
    longest = max(first - start, between or 0, start + MICROSECONDS_PER_DAY - last)
    return timedelta(microseconds=longest)


def _days_of(database: Database, part: Slice) -> Select[Any]:
    """Day number, points, first and last time, largest distance of two neighbours of the same day."""
    time = readable(raw_prices.c.timestamp, database.dialect).label("at")
    times = select(time).where(in_slice(database, raw_prices, part))
    at = times.subquery().c.at
    pairs = select(at, func.lag(at).over(order_by=at).label("before")).subquery()
    day = pairs.c.at.op("/")(_DAY)
    # Neighbours of two days meet at midnight, which ends a gap as the edge of either day.
    inside = case((pairs.c.before >= day.op("*")(_DAY), pairs.c.at - pairs.c.before))
    edges = func.min(pairs.c.at), func.max(pairs.c.at), func.max(inside)
    return select(day, func.count(), *edges).group_by(day)
