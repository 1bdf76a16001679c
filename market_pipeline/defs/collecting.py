"""What a run of `raw_prices` asks for: its days, then the holes of the last day; and what it remembers
of the answers besides their prices.

The steps of a run without Dagster: the core's functions joined with the database's.
"""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

from market_pipeline.clock import DAY
from market_pipeline.prices.coverage import DayOfSymbol
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage import tables
from market_pipeline.storage.engine import Database
from market_pipeline.symbols import Catalogue

if TYPE_CHECKING:
    from market_pipeline.coingecko.client import CoinGeckoClient
    from market_pipeline.prices.collected import Collected


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
    from market_pipeline.prices.collect import collect
    from market_pipeline.prices.holes import longest_silence

    now = client.clock()
    collected = collect(client, catalogue, wanted, now)
    if not collected.failures and any(day == now.date() for day, _ in wanted):
        longest = longest_silence(collect_cron, now)
        collected = _with_holes_filled(store, client, catalogue, collected, longest)
    if collected.answered:
        from market_pipeline.storage.source_gaps import remember

        times = [(quote.symbol, quote.timestamp) for quote in collected.quotes]
        remember(store, collected.answered, collected.absences, times)
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
    from market_pipeline.prices.fill import fill_holes
    from market_pipeline.storage.records import columns_of
    from market_pipeline.storage.write import upsert

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
    from market_pipeline.storage.recent import recent_silences

    now = client.clock()
    live = [quote for quote in collected.quotes if quote.source is Source.LIVE]
    order = [symbol for symbol in catalogue.symbols if symbol in {quote.symbol for quote in live}]
    recent = recent_silences(store, order, now - DAY, now, longest)
    holes = find_holes(recent, live, now, longest)
    if not holes:
        return {}
    from market_pipeline.storage.source_gaps import remembered

    known = remembered(store, [catalogue.coin(symbol) for symbol in holes], now - DAY, now)
    return unexplained(holes, known, now, longest)
