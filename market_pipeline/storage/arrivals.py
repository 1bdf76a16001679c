"""What a collection brings to the tables: its rows, storing them, and what each day holds then."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from market_pipeline.prices.clock_skew import differs
from market_pipeline.prices.coverage import DayOfSymbol, changes_by_day, quotes_by_day, refusals_by_day
from market_pipeline.slices import merge_days
from market_pipeline.storage import tables
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.prices.collected import Collected

# What a day of a symbol holds, by name; times are aware UTC.
Facts = dict[str, Any]

# Seconds by which our clock was ahead of the source's; there only where it is too wrong to judge quotes by.
CLOCK_SKEW = "clock_skew_seconds"


def arrivals(collected: Collected, run_id: str) -> tuple[Columns, Columns]:
    """The quotes as rows of `raw_prices`, and the refusals as rows of `rejected_prices` that `run_id` saw."""
    from market_pipeline.storage.records import columns_of

    refusals = [{"id": refusal.id, "run_id": run_id, **asdict(refusal)} for refusal in collected.refusals]
    return columns_of(tables.raw_prices, collected.quotes), columns_of(tables.rejected_prices, refusals)


def keep(database: Database, quotes: Columns, refusals: Columns) -> int:
    """Store both, each in a transaction of its own; how many rows are new or changed."""
    from market_pipeline.storage.write import upsert

    return upsert(database, tables.raw_prices, quotes) + upsert(database, tables.rejected_prices, refusals)


def price_facts(
    database: Database, days: Sequence[DayOfSymbol], collected: Collected
) -> dict[DayOfSymbol, Facts]:
    """Of each of `days` in `raw_prices`: rows, what came and changed, the newest quote that came, and a wrong clock.

    As it is once `collected` is stored; to be asked before, or what changed cannot be told.
    """
    from market_pipeline.storage.read import read_columns

    names = ["symbol", "timestamp", "price"]
    found = read_columns(database, tables.raw_prices, merge_days(days), columns=names)
    keys = zip(found["symbol"], found.datetimes("timestamp"))
    stored = dict(zip(keys, found["price"].tolist()))
    rows = quotes_by_day(stored, collected.quotes)
    changed = changes_by_day(stored, collected.quotes)
    accepted = Counter((quote.timestamp.date(), quote.symbol) for quote in collected.quotes)
    # The quotes of a symbol come in the order of time.
    newest = {(quote.timestamp.date(), quote.symbol): quote for quote in collected.quotes}
    clock = {CLOCK_SKEW: collected.clock_skew} if differs(collected.clock_skew) else {}
    described: dict[DayOfSymbol, Facts] = {}
    for day in days:
        described[day] = {
            "rows": rows[day],
            "quotes_accepted": accepted[day],
            "prices_changed": changed[day],
            **clock,
        }
        if day in newest:
            described[day] |= {"price_usd": newest[day].price, "newest_quote": newest[day].timestamp}
    return described


def refusal_facts(
    database: Database, days: Sequence[DayOfSymbol], collected: Collected
) -> dict[DayOfSymbol, Facts]:
    """Of each of `days` in `rejected_prices`: rows, once `collected` is stored, and how many came."""
    from market_pipeline.storage.read import read_columns

    stored = read_columns(database, tables.rejected_prices, merge_days(days), columns=["id", "day", "symbol"])
    rows = refusals_by_day(zip(stored["id"], stored["day"], stored["symbol"]), collected.refusals)
    refused = Counter((refusal.day, refusal.symbol) for refusal in collected.refusals)
    return {day: {"rows": rows[day], "refused_in_this_run": refused[day]} for day in days}
