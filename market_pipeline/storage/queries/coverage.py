"""Coverage of each day, measured from the stored prices themselves."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    Text,
    case,
    column,
    func,
    literal,
    literal_column,
    select,
    values,
)

from market_pipeline.core.clock import DAY, MICROSECONDS_PER_DAY, number_of_day, start_of_day
from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.prices.gaps import EXPECTED_POINTS
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice, of_symbol, united
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline.storage.schema.types import UtcTimestamp

_DAY: ColumnElement[int] = literal_column(str(MICROSECONDS_PER_DAY), BigInteger)


@dataclass(frozen=True)
class DayCoverage:
    """The coverage of one UTC day of a symbol.

    `expected` is the number of points of the day's history, `largest_gap` the longest time without a
    point in the whole day, from midnight to midnight.
    """

    symbol: str
    day: date
    points: int
    expected: int
    largest_gap: timedelta


def day_coverage(database: Database, slices: Sequence[Slice]) -> list[DayCoverage]:
    """Return the coverage of every day of `slices`, in their order, days without any point included.

    One query a slice, over its rows in index order.
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


def first_arrivals(
    database: Database, symbols: Sequence[str], first: date, last: date
) -> dict[DayOfSymbol, datetime]:
    """Return when the first price of each day of `first`..`last` was stored; a day without a price is left out.

    One query of one index lookup for each day and symbol: its cost does not grow with the prices of a day.
    """
    spans = [(start_of_day(day), start_of_day(day) + DAY) for day in Slice("", first, last).days]
    ingested_at, timestamp = raw_prices.c.ingested_at, raw_prices.c.timestamp
    rows = _of_spans(database, symbols, spans, select(ingested_at).order_by(timestamp).limit(1))
    return {(begins.date(), symbol): stored_at for begins, symbol, stored_at in rows}


def newest_arrivals(
    database: Database, symbols: Sequence[str], spans: Sequence[tuple[datetime, datetime]]
) -> dict[datetime, datetime]:
    """Return, by the begin of each of `spans`, when the last of its prices of any symbol was stored."""
    newest: dict[datetime, datetime] = {}
    latest = select(func.max(raw_prices.c.ingested_at, type_=UtcTimestamp()))
    for begins, _, stored_at in _of_spans(database, symbols, spans, latest):
        newest[begins] = max(stored_at, newest.get(begins, stored_at))
    return newest


def arrivals_of_days(database: Database, days: Collection[DayOfSymbol]) -> dict[DayOfSymbol, datetime]:
    """Return when the last price of each of `days` was stored; those without prices are absent."""
    spans = [(start_of_day(day), start_of_day(day + DAY)) for day in {day for day, _ in days}]
    latest = select(func.max(raw_prices.c.ingested_at, type_=UtcTimestamp()))
    stored = _of_spans(database, [*{symbol for _, symbol in days}], spans, latest)
    return {(begins.date(), symbol): at for begins, symbol, at in stored if (begins.date(), symbol) in days}


def _of_spans(
    database: Database, symbols: Sequence[str], spans: Sequence[tuple[datetime, datetime]], wanted: Select[Any]
) -> list[tuple[datetime, str, datetime]]:
    """Return (begin, symbol, what `wanted` selects there) for each span and symbol where that is not null."""
    if not spans or not symbols:
        return []
    times = values(column("begins", UtcTimestamp()), column("ends", UtcTimestamp()), name="times").data(spans)
    coins = values(column("symbol", Text()), column("coin_id", Text()), name="coins").data(
        [(symbol, database.coin_id(symbol)) for symbol in symbols]
    )
    every, each = times.cte(), coins.cte()
    time, coin, prices = every.c, each.c, raw_prices.c
    found = wanted.where(
        prices.symbol == coin.symbol, prices.coin_id == coin.coin_id,
        prices.timestamp >= time.begins, prices.timestamp < time.ends,
    )
    with database.reading() as connection:
        wanted_of_all = select(time.begins, coin.symbol, found.scalar_subquery()).join_from(every, each, literal(True))
        rows = connection.execute(wanted_of_all)
        return [(begins, symbol, at) for begins, symbol, at in rows if at is not None]


def first_times(database: Database, symbols: Sequence[str]) -> dict[str, datetime]:
    """Return the time (UTC) of the first stored price of each symbol that has one."""
    oldest = [
        select(literal(symbol), func.min(raw_prices.c.timestamp)).where(of_symbol(database, raw_prices, symbol))
        for symbol in symbols
    ]
    with database.reading() as connection:
        rows = [row for statement in united(oldest) for row in connection.execute(statement)]
    return {symbol: moment for symbol, moment in rows if moment is not None}


def first_days(database: Database, symbols: Sequence[str]) -> dict[str, date]:
    """Return the UTC day of the first stored price of each symbol that has one."""
    return {symbol: moment.date() for symbol, moment in first_times(database, symbols).items()}


def _largest_gap(number: int, first: int, last: int, between: int | None) -> timedelta:
    start = number * MICROSECONDS_PER_DAY
    longest = max(first - start, between or 0, start + MICROSECONDS_PER_DAY - last)
    return timedelta(microseconds=longest)


def _days_of(database: Database, part: Slice) -> Select[Any]:
    """Select day number, points, first and last time, largest distance of two neighbours of the same day."""
    time = readable(raw_prices.c.timestamp, database.dialect).label("at")
    times = select(time).where(in_slice(database, raw_prices, part))
    at = times.subquery().c.at
    pairs = select(at, func.lag(at).over(order_by=at).label("before")).subquery()
    day = pairs.c.at.op("/")(_DAY)
    # Neighbours of two days meet at midnight, which ends a gap as the edge of either day.
    inside = case((pairs.c.before >= day.op("*")(_DAY), pairs.c.at - pairs.c.before))
    edges = func.min(pairs.c.at), func.max(pairs.c.at), func.max(inside)
    return select(day, func.count(), *edges).group_by(day)
