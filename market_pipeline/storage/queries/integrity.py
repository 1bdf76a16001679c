"""Rows that should not exist, and missing quotes: what the asset checks report.

All queries read index ranges, so they cost the same however much is stored.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Table, and_, func, not_, select

from market_pipeline.core.clock import start_of_day
from market_pipeline.core.slices import Slice
from market_pipeline.prices.quotes import FUTURE_TOLERANCE, LARGEST_PRICE
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.rows.filters import in_slice, of_symbol, united
from market_pipeline.storage.rows.read import rows_per_day
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

SAMPLE_SIZE = 10

# A run of today may continue shortly after midnight.
_AFTER_MIDNIGHT = timedelta(minutes=10)


@dataclass(frozen=True)
class Offenders:
    """Rows that should not be: the exact count, by symbol, and at most `SAMPLE_SIZE` of them."""

    count: int
    by_symbol: dict[str, int]
    sample: list[dict[str, Any]]


def quotes_in_future(database: Database, slices: Sequence[Slice], now: datetime) -> Offenders:
    """Find stored quotes of the slices' symbols that are later than `now` by more than the clock tolerance.

    A slice that reaches the present has no upper end here: a row dated tomorrow is in no partition yet.
    """
    time = raw_prices.c.timestamp
    latest = now + FUTURE_TOLERANCE
    wheres = []
    for part in slices:
        if part.end > latest - _AFTER_MIDNIGHT:
            where = and_(of_symbol(database, raw_prices, part.symbol), time >= part.start)
        else:
            where = in_slice(database, raw_prices, part)
        wheres.append(and_(where, time > latest))
    return _offenders(database, raw_prices, wheres)


def quotes_not_positive(database: Database, slices: Sequence[Slice]) -> Offenders:
    """Find stored quotes whose price is not a finite number above zero."""
    price = raw_prices.c.price
    # NULL and NaN fail every comparison on SQLite; PostgreSQL sorts NaN above infinity.
    bad = not_(func.coalesce(and_(price > 0, price < LARGEST_PRICE), False))
    return _offenders(database, raw_prices, [and_(in_slice(database, raw_prices, part), bad) for part in slices])


def refusals_of_run(database: Database, run_id: str, slices: Sequence[Slice], reasons: Collection[str]) -> Offenders:
    """Find what this run refused for one of `reasons`."""
    of_run = and_(rejected_prices.c.run_id == run_id, rejected_prices.c.reason.in_(list(reasons)))
    wheres = [and_(in_slice(database, rejected_prices, part), of_run) for part in slices]
    return _offenders(database, rejected_prices, wheres)


def refused_live_symbols(
    database: Database, run_id: str, slices: Sequence[Slice], live: str
) -> dict[str, tuple[str, str]]:
    """Return the symbols whose `live` quote was refused in this run, with the reason and its words.

    A live answer holds one quote a symbol, so its refusal leaves the symbol without one.
    """
    columns = rejected_prices.c
    wanted = select(columns.symbol, columns.reason, columns.detail)
    refused = wanted.where(columns.run_id == run_id, columns.source == live)
    statements = [refused.where(in_slice(database, rejected_prices, part)) for part in slices]
    with database.reading() as connection:
        return {
            symbol: (reason, detail)
            for statement in united(statements) for symbol, reason, detail in connection.execute(statement)
        }


def symbols_without_quote(
    database: Database, slices: Sequence[Slice], grace: timedelta, now: datetime
) -> dict[str, list[date]]:
    """Return the days of `slices` in which a symbol has no stored quote.

    For the day of `now` a quote within `grace` before midnight is enough: just after midnight the newest
    price is still yesterday's. One from the future does not count.
    """
    rows = rows_per_day(database, raw_prices, slices)
    newest = newest_quote_times(database, sorted({part.symbol for part in slices}), now)
    missing: dict[str, list[date]] = {}
    for part in slices:
        for day in part.days:
            if day == now.date():
                at = newest[part.symbol]
                quoted = at is not None and at >= start_of_day(day) - grace
            else:
                quoted = rows[(day, part.symbol)] > 0
            if not quoted:
                missing.setdefault(part.symbol, []).append(day)
    return missing


def _offenders(database: Database, table: Table, wheres: Sequence[ColumnElement[bool]]) -> Offenders:
    by_symbol: Counter[str] = Counter()
    sample: list[dict[str, Any]] = []
    counted = select(table.c.symbol, func.count()).group_by(table.c.symbol)
    with database.reading() as connection:
        for statement in united([counted.where(where) for where in wheres]):
            for symbol, count in connection.execute(statement):
                by_symbol[symbol] += count
        for where in wheres if by_symbol else ():
            rows = select(table).where(where).order_by(*table.primary_key).limit(SAMPLE_SIZE - len(sample))
            sample.extend(dict(row._mapping) for row in connection.execute(rows))
    return Offenders(by_symbol.total(), dict(by_symbol), sample)
