"""Collect days: fetch them, fill the holes of the last day, and describe each partition.

The asset `raw_prices` and POST /collect-once share these steps.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from market_pipeline.core.clock import DAY
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol, merge_days
from market_pipeline.core.symbols import Catalogue
from market_pipeline.prices.clock_skew import is_wrong
from market_pipeline.prices.collection import Collection, fetch_current
from market_pipeline.prices.freshness import longest_silence
from market_pipeline.prices.history import fetch_past
from market_pipeline.prices.holes import fill_holes, find_holes, unexplained
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.silences import recent_silences
from market_pipeline.storage.queries.source_gaps import record_absences, stored_absences
from market_pipeline.storage.rows.read import read_columns
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices, rejected_prices

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient

# Facts about a partition, by name; times are aware UTC.
Facts = dict[str, Any]

# Seconds by which our clock was ahead of the source's; a fact only where that is too much to judge quotes by.
CLOCK_SKEW = "clock_skew_seconds"
# How many rows of the partition are new or changed.
ROWS_WRITTEN = "rows_written"


@dataclass(frozen=True)
class Arrival:
    """The results of a collection, before they are stored.

    `quotes` are rows of `raw_prices`, `refusals` rows of `rejected_prices`. The facts describe each partition of either
    table as it will be once they are stored: the requested days whose symbol did not fail and, in `raw_prices`, also
    neighbouring days that received a quote.
    """

    collected: Collection
    quotes: Columns
    refusals: Columns
    price_facts: Mapping[DayOfSymbol, Facts]
    refusal_facts: Mapping[DayOfSymbol, Facts]


def collect(
    database: Database,
    client: CoinGeckoClient,
    catalogue: Catalogue,
    days: Sequence[DayOfSymbol],
    *,
    now: datetime,
    run_id: str,
    collect_cron: str | None = None,
) -> Arrival:
    """Collect `days` of coins of `catalogue`; `now` (aware) decides which of them is today.

    With a `collect_cron`, and if today is one of `days`, holes of the last 24 hours are filled as well; the current
    prices are stored before that. Stretches without prices at the source are stored, quotes and refusals are not:
    see `store`. Refusals are filed under `run_id`.
    """
    collected = fetch_days(client, catalogue, days, now)
    if collect_cron and not collected.failures and any(day == now.date() for day, _ in days):
        _fill_holes(database, collected, longest_silence(collect_cron, now))
    if collected.answered:
        times = [(quote.symbol, quote.timestamp) for quote in collected.quotes]
        record_absences(database, collected.answered, collected.absences, times)
    refusals = [{"id": refusal.id, "run_id": run_id, **asdict(refusal)} for refusal in collected.refusals]
    good = [(day, symbol) for day, symbol in days if symbol not in collected.failures]
    return Arrival(
        collected,
        columns_of(raw_prices, collected.quotes),
        columns_of(rejected_prices, refusals),
        _price_facts(database, [*good, *_neighbours(days, collected)], collected),
        _refusal_facts(database, good, collected),
    )


def store(database: Database, arrival: Arrival) -> int:
    """Store the rows, in one transaction per table; return how many are new or changed."""
    return upsert(database, raw_prices, arrival.quotes) + upsert(database, rejected_prices, arrival.refusals)


def fetch_days(
    client: CoinGeckoClient, catalogue: Catalogue, days: Iterable[DayOfSymbol], now: datetime
) -> Collection:
    """Fetch `days` from the source: today's prices by one request, the past by one for each 90 days of a symbol.

    A failed request does not stop the others, unless every other one would fail the same way or CoinGecko is down:
    then all symbols that are still waiting fail with that error. Raises ValueError, before any request, for a day in
    the future and for a symbol that is not in `catalogue`.
    """
    today = now.astimezone(timezone.utc).date()
    wanted = _by_symbol(days, catalogue, today)
    collection = Collection(client, catalogue)
    if current := {symbol: of_symbol for symbol, of_symbol in wanted.items() if today in of_symbol}:
        fetch_current(collection, current)
    fetch_past(collection, {symbol: of_symbol - {today} for symbol, of_symbol in wanted.items()})
    return collection


def _by_symbol(days: Iterable[DayOfSymbol], catalogue: Catalogue, today: date) -> dict[str, set[date]]:
    """Group `days` by symbol, in the order of the catalogue."""
    wanted: dict[str, set[date]] = {symbol: set() for symbol in catalogue.symbols}
    for day, symbol in days:
        if day > today:
            raise ValueError(f"{day} has not begun: it is {today} in UTC")
        wanted[catalogue.validate_symbol(symbol)].add(day)
    return {symbol: of_symbol for symbol, of_symbol in wanted.items() if of_symbol}


def _fill_holes(database: Database, collected: Collection, longest: timedelta) -> None:
    """Fill the holes longer than `longest` that no known absence explains.

    The current prices are stored first: filling may take minutes, and they cannot be fetched later.
    """
    now, catalogue = collected.client.clock(), collected.catalogue
    current = {quote.symbol: quote for quote in collected.quotes if quote.source is Source.LIVE}
    order = [symbol for symbol in catalogue.symbols if symbol in current]
    recent = recent_silences(database, order, now - DAY, now, longest)
    holes = find_holes(recent, current.values(), now, longest)
    if holes:
        known = stored_absences(database, [catalogue.coin(symbol) for symbol in holes], now - DAY, now)
        holes = unexplained(holes, known, now, longest)
    if holes:
        upsert(database, raw_prices, columns_of(raw_prices, collected.quotes))
        fill_holes(collected, holes, longest)


def _neighbours(days: Sequence[DayOfSymbol], collected: Collection) -> list[DayOfSymbol]:
    """Return the days that received quotes without being requested.

    Just after midnight the newest price is yesterday's, and a hole may have begun before midnight. The point at the
    last midnight of a window of history does not count: it completes no day.
    """
    current = [quote for quote in collected.quotes if quote.source is Source.LIVE]
    brought = {_day_of(quote) for quote in [*current, *collected.filled]}
    return sorted(day for day in brought - set(days) if day[1] not in collected.failures)


def _day_of(quote: Quote) -> DayOfSymbol:
    return quote.timestamp.date(), quote.symbol


def _price_facts(
    database: Database, days: Sequence[DayOfSymbol], collected: Collection
) -> dict[DayOfSymbol, Facts]:
    """Describe each of `days` in `raw_prices`, as it will be once `collected` is stored."""
    if not days:
        return {}
    found = read_columns(database, raw_prices, merge_days(days), columns=["symbol", "timestamp", "price"])
    times = zip(found["symbol"], found.datetimes("timestamp"), strict=True)
    stored = dict(zip(times, found["price"].tolist(), strict=True))
    quotes = collected.quotes
    keys = stored.keys() | {(quote.symbol, quote.timestamp) for quote in quotes}
    rows = Counter((timestamp.date(), symbol) for symbol, timestamp in keys)
    arriving: dict[DayOfSymbol, list[Quote]] = defaultdict(list)
    for quote in quotes:
        arriving[_day_of(quote)].append(quote)
    clock = {CLOCK_SKEW: collected.clock_skew} if is_wrong(collected.clock_skew) else {}
    facts: dict[DayOfSymbol, Facts] = {}
    for day in days:
        brought = arriving[day]
        # As the table has them in the end: of two quotes of one time the last.
        prices = {(quote.symbol, quote.timestamp): quote.price for quote in brought}
        facts[day] = {
            "rows": rows[day],
            "quotes_accepted": len(brought),
            ROWS_WRITTEN: sum(stored.get(key) != price for key, price in prices.items()),
            "prices_changed": sum(stored.get(key, price) != price for key, price in prices.items()),
            **clock,
        }
        if brought:
            facts[day] |= {"price_usd": brought[-1].price, "newest_quote": brought[-1].timestamp}
    return facts


def _refusal_facts(
    database: Database, days: Sequence[DayOfSymbol], collected: Collection
) -> dict[DayOfSymbol, Facts]:
    """Describe each of `days` in `rejected_prices`, as it will be once `collected` is stored."""
    if not days:
        return {}
    stored = read_columns(database, rejected_prices, merge_days(days), columns=["id", "day", "symbol"])
    keys = set(zip(stored["id"], stored["day"], stored["symbol"], strict=True))
    keys |= {(refusal.id, refusal.day, refusal.symbol) for refusal in collected.refusals}
    rows = Counter((day, symbol) for _, day, symbol in keys)
    refused = Counter((refusal.day, refusal.symbol) for refusal in collected.refusals)
    return {day: {"rows": rows[day], "refused_in_this_run": refused[day]} for day in days}
