"""The questions that the asset checks ask. All are answered from index ranges, so they cost the same
however much is stored.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, not_, select

from market_pipeline.core.clock import start_of_day
from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import FUTURE_TOLERANCE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.rows.filters import in_slice, of_symbol
from market_pipeline.storage.rows.read import rows_per_day
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

SAMPLE_SIZE = 10

# A run of today may still be going shortly after midnight.
_AFTER_MIDNIGHT = timedelta(minutes=10)


@dataclass(frozen=True)
class Offenders:
    """Rows that should not be: the exact count, by symbol, and at most `SAMPLE_SIZE` of them."""

    count: int
    by_symbol: dict[str, int]
    sample: list[dict[str, Any]]


def quotes_in_future(database: Database, slices: Sequence[Slice], now: datetime) -> Offenders:
    """Stored quotes of the slices' symbols that lie further after `now` than a source's clock may be ahead.

    A slice that reaches the present has no upper end here: a row dated tomorrow is in no partition
    yet.
    """
    time = raw_prices.c.timestamp
    latest = now + FUTURE_TOLERANCE
    late = time > latest
    wheres = []
    for part in slices:
        if part.end > latest - _AFTER_MIDNIGHT:
            wheres.append(and_(of_symbol(database, raw_prices, part.symbol), time >= part.start, late))
        else:
            wheres.append(and_(in_slice(database, raw_prices, part), late))
    return _offenders(database, raw_prices, wheres)


def quotes_not_positive(database: Database, slices: Sequence[Slice]) -> Offenders:
    """Stored quotes whose price is not a finite number above zero."""
    price = raw_prices.c.price
    # NULL and NaN fail every comparison on SQLite; PostgreSQL sorts NaN above infinity.
    bad = not_(func.coalesce(and_(price > 0, price < 1e300), False))
    return _offenders(database, raw_prices, [and_(in_slice(database, raw_prices, part), bad) for part in slices])


def refusals_of_run(
    database: Database, run_id: str, slices: Sequence[Slice], reasons: Collection[str]
) -> Offenders:
    """What this run refused for one of `reasons`."""
    of_run = and_(rejected_prices.c.run_id == run_id, rejected_prices.c.reason.in_(list(reasons)))
    return _offenders(
        database, rejected_prices, [and_(in_slice(database, rejected_prices, part), of_run) for part in slices]
    )


def refused_live_symbols(database: Database, run_id: str, slices: Sequence[Slice], live: str) -> dict[str, str]:
    """The symbols whose `live` answer was refused in this run, with the reason in words.

    A live answer holds one quote a symbol, so its refusal leaves the symbol without one.
    """
    columns = rejected_prices.c
    with database.reading() as connection:
        return {
            symbol: detail
            for part in slices
            for symbol, detail in connection.execute(
                select(columns.symbol, columns.detail).where(
                    in_slice(database, rejected_prices, part), columns.run_id == run_id, columns.source == live
                )
            )
        }


def symbols_without_quote(
    database: Database, slices: Sequence[Slice], grace: timedelta, now: datetime
) -> dict[str, list[date]]:
    """The days of `slices` in which a symbol has no stored quote.

    For the day of `now` a quote of the last `grace` before midnight is enough: just after midnight the newest
    price is still yesterday's. One from the future does not count.
    """
    rows = rows_per_day(database, raw_prices, slices)
    recent = newest_quote_times(database, sorted({part.symbol for part in slices}), now)
    missing: dict[str, list[date]] = {}
    for part in slices:
        for day in part.days:
            newest = recent[part.symbol]
            if day == now.date():
                quoted = newest is not None and newest >= start_of_day(day) - grace
            else:
                quoted = rows[(day, part.symbol)] > 0
            if not quoted:
                missing.setdefault(part.symbol, []).append(day)
    return missing


def _offenders(database: Database, table: Table, wheres: Sequence[ColumnElement[bool]]) -> Offenders:
    by_symbol: Counter[str] = Counter()
    sample: list[dict[str, Any]] = []
    with database.reading() as connection:
        for where in wheres:
            counted = select(table.c.symbol, func.count()).where(where).group_by(table.c.symbol)
            for symbol, count in connection.execute(counted):
                by_symbol[symbol] += count
        for where in wheres if by_symbol else ():
            rows = select(table).where(where).order_by(*table.primary_key).limit(SAMPLE_SIZE - len(sample))
            sample.extend(dict(row._mapping) for row in connection.execute(rows))
    return Offenders(by_symbol.total(), dict(by_symbol), sample)
