"""What the UI shows of each collected partition: how many rows it holds, which changed, its newest price."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_pipeline.defs.partitions import partition_key
from market_pipeline.prices.coverage import DayOfSymbol
from market_pipeline.prices.quotes import Source
from market_pipeline.storage.engine import Database

if TYPE_CHECKING:
    from market_pipeline.prices.collect import Collected

Metadata = dict[str, Any]


def price_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `raw_prices`, as it is once `collected` is stored."""
    from market_pipeline.storage.arrivals import price_facts

    return {day: as_metadata(facts) for day, facts in price_facts(database, days, collected).items()}


def refusal_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `rejected_prices`, as it is once `collected` is stored."""
    from market_pipeline.storage.arrivals import refusal_facts

    return {day: as_metadata(facts) for day, facts in refusal_facts(database, days, collected).items()}


def as_metadata(facts: Mapping[str, Any]) -> Metadata:
    """What is known of a day as Dagster shows it: `rows` in the place of its row counts, times as times."""
    return {
        "dagster/row_count" if name == "rows" else name:
        dg.MetadataValue.timestamp(value) if isinstance(value, datetime) else value
        for name, value in facts.items()
    }


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
