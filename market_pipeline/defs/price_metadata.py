"""What the UI shows of each collected partition: how many rows it holds, which changed, its newest price."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_pipeline.defs.partitions import partition_key
from market_pipeline.prices.coverage import DayOfSymbol, changes_by_day, quotes_by_day, refusals_by_day
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.slices import merge_days
from market_pipeline.storage import tables
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.prices.collect import Collected

Metadata = dict[str, Any]


def price_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `raw_prices`, as it is once `collected` is stored."""
    from market_pipeline.storage.read import read_columns

    names = ["symbol", "timestamp", "price"]
    found = read_columns(database, tables.raw_prices, merge_days(days), columns=names)
    keys = zip(found["symbol"], found.datetimes("timestamp"))
    stored = dict(zip(keys, found["price"].tolist()))
    rows = quotes_by_day(stored, collected.quotes)
    changed = changes_by_day(stored, collected.quotes)
    accepted = Counter((quote.timestamp.date(), quote.symbol) for quote in collected.quotes)
    newest = _newest(collected.quotes)
    described: dict[DayOfSymbol, Metadata] = {}
    for day in days:
        described[day] = {
            "dagster/row_count": rows[day],
            "quotes_accepted": accepted[day],
            "prices_changed": changed[day],
        }
        if day in newest:
            described[day]["price_usd"] = newest[day].price
            described[day]["newest_quote"] = dg.MetadataValue.timestamp(newest[day].timestamp)
    return described


def refusal_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `rejected_prices`, as it is once `collected` is stored."""
    from market_pipeline.storage.read import read_columns

    stored = read_columns(database, tables.rejected_prices, merge_days(days), columns=["id", "day", "symbol"])
    rows = refusals_by_day(zip(stored["id"], stored["day"], stored["symbol"]), collected.refusals)
    refused = Counter((refusal.day, refusal.symbol) for refusal in collected.refusals)
    return {day: {"dagster/row_count": rows[day], "refused_in_this_run": refused[day]} for day in days}


def neighbour_days(days: Sequence[DayOfSymbol], collected: "Collected") -> list[DayOfSymbol]:
    """Days that got quotes without being asked for: just after midnight the newest price is yesterday's,
    and a hole that is filled may have begun before midnight.

    The point at the last midnight of a history window does not count: it completes no day.
    """
    live = [quote for quote in collected.quotes if quote.source is Source.LIVE]
    return sorted({(quote.timestamp.date(), quote.symbol) for quote in [*live, *collected.filled]} - set(days))


def materialization(asset: str, day: DayOfSymbol, metadata: Metadata) -> dg.AssetMaterialization:
    """The event that says that one address of `asset` was brought up to date."""
    return dg.AssetMaterialization(asset_key=asset, partition=str(partition_key(*day)), metadata=metadata)


def _newest(quotes: Sequence[Quote]) -> dict[DayOfSymbol, Quote]:
    return {
        (quote.timestamp.date(), quote.symbol): quote
        for quote in sorted(quotes, key=lambda quote: quote.timestamp)
    }
