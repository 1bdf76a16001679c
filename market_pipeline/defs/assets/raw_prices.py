"""The assets `raw_prices` and `rejected_prices`: collect a set of days, keep what is accepted,
quarantine what is refused. What is refused, and how little is asked, the core decides."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError, SourceDown, TransientError
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import some
from market_pipeline.dagster_instance.reports import as_metadata, materialization
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, partition_key, wanted_days
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.pipeline.collect import collect_and_fill
from market_pipeline.prices.freshness import complaint
from market_pipeline.prices.quotes import Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

if TYPE_CHECKING:
    from market_pipeline.prices.collection import Collected


Metadata = dict[str, Any]


def price_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `raw_prices`, as it is once `collected` is stored."""
    from market_pipeline.pipeline.collect import price_facts

    return {day: as_metadata(facts) for day, facts in price_facts(database, days, collected).items()}


def refusal_metadata(
    database: Database, days: Sequence[DayOfSymbol], collected: "Collected"
) -> dict[DayOfSymbol, Metadata]:
    """Metadata of each of `days` in `rejected_prices`, as it is once `collected` is stored."""
    from market_pipeline.pipeline.collect import refusal_facts

    return {day: as_metadata(facts) for day, facts in refusal_facts(database, days, collected).items()}


def neighbour_days(days: Sequence[DayOfSymbol], collected: "Collected") -> list[DayOfSymbol]:
    """Days that got quotes without being asked for: just after midnight the newest price is yesterday's,
    and a hole that is filled may have begun before midnight.

    The point at the last midnight of a history window does not count: it completes no day.
    """
    live = [quote for quote in collected.quotes if quote.source is Source.LIVE]
    return sorted({(quote.timestamp.date(), quote.symbol) for quote in [*live, *collected.filled]} - set(days))


def collection_failure(failures: Mapping[str, CoinGeckoError], clock_skew: float | None) -> dg.Failure:
    """The Failure of a run in which these symbols could not be collected, which names a wrong clock first."""
    first = next(iter(failures.values()))
    unasked = [symbol for symbol, error in failures.items() if isinstance(error, SourceDown)]
    failed = [symbol for symbol in failures if symbol not in unasked]
    what_next = (
        "What is stored is kept; the same partitions can be materialized again at any time."
        if isinstance(first, TransientError)
        else "Mend the cause before materializing the same partitions again."
    )
    clock = f"{said} " if (said := complaint(clock_skew)) else ""
    return dg.Failure(
        description=f"{clock}No prices for {some(failed, 20)}: {first.verdict}{_not_asked(unasked)} {what_next}",
        metadata={
            "symbols": ", ".join(failures),
            "endpoint": first.endpoint,
            "status": first.status if first.status is not None else "no answer",
            "attempts": first.attempts,
            "verdict": first.verdict,
            "errors": dg.MetadataValue.md(
                "\n".join(f"- **{symbol}**: {error}" for symbol, error in failures.items())
            ),
        },
        allow_retries=False,
    )


def _not_asked(symbols: Sequence[str]) -> str:
    return f" After that nothing was asked for {some(symbols, 20)}." if symbols else ""


RAW_PRICES = "raw_prices"
REJECTED_PRICES = "rejected_prices"


def build_raw_prices(
    partitions: dg.MultiPartitionsDefinition, catalogue: Catalogue, kinds: set[str], collect_cron: str
) -> dg.AssetsDefinition:
    """The multi-asset that collects the coins of `catalogue`; what is a hole follows from when it runs."""

    @dg.multi_asset(
        name="collect_prices", outs=_outs(kinds), partitions_def=partitions, backfill_policy=SINGLE_RUN
    )
    @logged_step
    def collect_prices(
        context: dg.AssetExecutionContext,
        coingecko: dg.ResourceParam[CoinGeckoResource],
        database: dg.ResourceParam[Database],
    ) -> Iterator[dg.Output[Columns]]:
        wanted = wanted_days(context, catalogue.symbols)
        if not wanted:
            return
        check_schema(database)
        with coingecko.client() as client:
            collected = collect_and_fill(database, client, catalogue, wanted, collect_cron)
            quotes, refusals = _arrivals(collected, context.run.run_id)
            if collected.failures:
                _keep_what_came(database, quotes, refusals)
                good = [(day, symbol) for day, symbol in wanted if symbol not in collected.failures]
                _report(context, partitions, RAW_PRICES, price_metadata(database, good, collected))
                _report(context, partitions, REJECTED_PRICES, refusal_metadata(database, good, collected))
                raise collection_failure(collected.failures, collected.clock_skew)
            late = neighbour_days(wanted, collected)
            described = price_metadata(database, [*wanted, *late], collected)
            _describe(context, RAW_PRICES, {day: described[day] for day in wanted})
            _describe(context, REJECTED_PRICES, refusal_metadata(database, wanted, collected))
            context.add_output_metadata(_run_metadata(collected), output_name=RAW_PRICES)
            yield dg.Output(quotes, RAW_PRICES)
            yield dg.Output(refusals, REJECTED_PRICES)
            _report(context, partitions, RAW_PRICES, {day: described[day] for day in late})

    return collect_prices


def _outs(kinds: set[str]) -> dict[str, dg.AssetOut]:
    return {
        RAW_PRICES: dg.AssetOut(
            description="Accepted quotes in US dollars, by UTC day and symbol. Today is brought up to date with one "
            "live request for all symbols, holes of the last 24 hours are filled with 5-minute points; a past day is "
            "brought up to date with its hourly history. Doing it again changes nothing.",
            metadata=table_metadata(tables.raw_prices, write_mode="upsert"),
            group_name=GROUP,
            owners=OWNERS,
            kinds=kinds,
            # A run whose partitions have gone brings nothing, and what follows it is skipped.
            is_required=False,
        ),
        REJECTED_PRICES: dg.AssetOut(
            description="Quarantine: points that were refused before they reached `raw_prices`, with the reason and "
            "the offending part of the answer.",
            metadata=table_metadata(tables.rejected_prices, write_mode="upsert"),
            group_name=GROUP,
            owners=OWNERS,
            kinds=kinds,
            # A run whose partitions have gone brings nothing, and what follows it is skipped.
            is_required=False,
        ),
    }


def _arrivals(collected: "Collected", run_id: str) -> tuple[Columns, Columns]:
    """The quotes and the refusals as rows of their tables."""
    from market_pipeline.pipeline.collect import arrivals

    return arrivals(collected, run_id)


def _keep_what_came(store: Database, quotes: Columns, refusals: Columns) -> None:
    """Store what a failing run has: the IO manager writes only what is returned."""
    from market_pipeline.pipeline.collect import keep

    keep(store, quotes, refusals)


def _run_metadata(collected: "Collected") -> Metadata:
    return {
        "requests_in_this_run": collected.requests,
        "holes_filled": len(collected.filled),
        "holes_unfilled": _summary(collected.unfilled),
        "unasked_coins": ", ".join(collected.unasked) or "none",
    }


def _summary(unfilled: Mapping[str, str]) -> str:
    """Which holes stay and the first reason, in few words: Dagster keeps a copy for every partition."""
    if not unfilled:
        return "none"
    shown = ", ".join(list(unfilled)[:10])
    more = f" and {len(unfilled) - 10} more" if len(unfilled) > 10 else ""
    return f"{shown}{more}: {next(iter(unfilled.values()))}"


def _describe(context: dg.AssetExecutionContext, asset: str, days: dict[DayOfSymbol, Metadata]) -> None:
    """Set the metadata of each partition of this run."""
    for day, metadata in days.items():
        context.add_asset_metadata(metadata, asset_key=asset, partition_key=partition_key(*day))


def _report(
    context: dg.AssetExecutionContext,
    partitions: dg.MultiPartitionsDefinition,
    asset: str,
    days: dict[DayOfSymbol, Metadata],
) -> None:
    """Report partitions that Dagster does not mark by itself: neighbour days, the good part of a failed run."""
    for day, metadata in days.items():
        if partitions.has_partition_key(str(partition_key(*day))):
            context.log_event(materialization(asset, day, metadata))
