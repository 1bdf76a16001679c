"""What a run of `raw_prices` asks for: its days, then the holes of the last day; and what it remembers
of the answers besides their prices.

The steps of a run without Dagster: the core's functions joined with the database's.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.prices.coverage import changes_by_day, quotes_by_day, refusals_by_day
from market_pipeline.prices.freshness import differs
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.prices.collection import Collected


def collect_and_fill(
    store: Database,
    client: "CoinGeckoClient",
    catalogue: Catalogue,
    wanted: Sequence[DayOfSymbol],
    collect_cron: str,
) -> "Collected":
    """Collect the days `wanted`, and where today is one of them fill the holes of the last day.

    What the source does not have is remembered in the database; the quotes and refusals returned are
    still to be stored. The present is the client's.
    """
    from market_pipeline.prices.collecting import collect
    from market_pipeline.prices.holes import longest_silence

    now = client.clock()
    collected = collect(client, catalogue, wanted, now)
    if not collected.failures and any(day == now.date() for day, _ in wanted):
        longest = longest_silence(collect_cron, now)
        collected = _with_holes_filled(store, client, catalogue, collected, longest)
    if collected.answered:
        from market_pipeline.storage.queries.source_gaps import record_absences

        times = [(quote.symbol, quote.timestamp) for quote in collected.quotes]
        record_absences(store, collected.answered, collected.absences, times)
    return collected


def _with_holes_filled(
    store: Database,
    client: "CoinGeckoClient",
    catalogue: Catalogue,
    collected: "Collected",
    longest: timedelta,
) -> "Collected":
    """`collected` and what fills the holes longer than `longest`.

    The live prices are stored before anything is asked for: filling may take minutes, and a price of
    now cannot be had later.
    """
    holes = _open_holes(store, client, catalogue, collected, longest)
    if not holes:
        return collected
    from market_pipeline.prices.holes import fill_holes
    from market_pipeline.storage.rows.records import columns_of
    from market_pipeline.storage.rows.write import upsert

    upsert(store, tables.raw_prices, columns_of(tables.raw_prices, collected.quotes))
    return collected.with_filled(fill_holes(client, catalogue, holes, client.clock().date(), longest))


def _open_holes(
    store: Database,
    client: "CoinGeckoClient",
    catalogue: Catalogue,
    collected: "Collected",
    longest: timedelta,
) -> dict[str, list[Interval]]:
    """The holes of which nobody knows yet whether the source has prices."""
    from market_pipeline.prices.holes import find_holes, unexplained
    from market_pipeline.prices.quotes import Source
    from market_pipeline.storage.queries.silences import recent_silences

    now = client.clock()
    live = [quote for quote in collected.quotes if quote.source is Source.LIVE]
    order = [symbol for symbol in catalogue.symbols if symbol in {quote.symbol for quote in live}]
    recent = recent_silences(store, order, now - DAY, now, longest)
    holes = find_holes(recent, live, now, longest)
    if not holes:
        return {}
    from market_pipeline.storage.queries.source_gaps import stored_absences

    known = stored_absences(store, [catalogue.coin(symbol) for symbol in holes], now - DAY, now)
    return unexplained(holes, known, now, longest)


# What a day of a symbol holds, by name; times are aware UTC.
Facts = dict[str, Any]

# Seconds by which our clock was ahead of the source's; there only where it is too wrong to judge quotes by.
CLOCK_SKEW = "clock_skew_seconds"


def arrivals(collected: Collected, run_id: str) -> tuple[Columns, Columns]:
    """The quotes as rows of `raw_prices`, and the refusals as rows of `rejected_prices` that `run_id` saw."""
    from market_pipeline.storage.rows.records import columns_of

    refusals = [{"id": refusal.id, "run_id": run_id, **asdict(refusal)} for refusal in collected.refusals]
    return columns_of(tables.raw_prices, collected.quotes), columns_of(tables.rejected_prices, refusals)


def keep(database: Database, quotes: Columns, refusals: Columns) -> int:
    """Store both, each in a transaction of its own; how many rows are new or changed."""
    from market_pipeline.storage.rows.write import upsert

    return upsert(database, tables.raw_prices, quotes) + upsert(database, tables.rejected_prices, refusals)


def price_facts(
    database: Database, days: Sequence[DayOfSymbol], collected: Collected
) -> dict[DayOfSymbol, Facts]:
    """Of each of `days` in `raw_prices`: rows, what came and changed, the newest quote that came, and a wrong clock.

    As it is once `collected` is stored; to be asked before, or what changed cannot be told.
    """
    from market_pipeline.storage.rows.read import read_columns

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
    from market_pipeline.storage.rows.read import read_columns

    stored = read_columns(database, tables.rejected_prices, merge_days(days), columns=["id", "day", "symbol"])
    rows = refusals_by_day(zip(stored["id"], stored["day"], stored["symbol"]), collected.refusals)
    refused = Counter((refusal.day, refusal.symbol) for refusal in collected.refusals)
    return {day: {"rows": rows[day], "refused_in_this_run": refused[day]} for day in days}
