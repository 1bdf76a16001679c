"""The assets `raw_prices` and `rejected_prices`: collect a set of days, keep what is accepted,
quarantine what is refused. What is refused, and how little is asked, the core decides."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError, SourceDown, TransientError
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import some
from market_pipeline.dagster_instance.reports import as_metadata, materialization
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, partition_key, days_of_run
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.pipeline.collect import Facts, collect, store
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.prices.collection import Collected
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

Metadata = dict[str, Any]


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
        wanted = days_of_run(context, catalogue.symbols)
        if not wanted:
            return
        check_schema(database)
        with coingecko.client() as client:
            arrival = collect(
                database, client, catalogue, wanted,
                now=client.clock(), run_id=context.run.run_id, collect_cron=collect_cron,
            )
            collected, prices, refused = arrival.collected, dict(arrival.price_facts), arrival.refusal_facts
            if collected.failures:
                # The IO manager writes only what is returned.
                store(database, arrival)
                _report(context, partitions, RAW_PRICES, prices)
                _report(context, partitions, REJECTED_PRICES, refused)
                raise collection_failure(collected.failures, collected.clock_skew)
            _describe(context, RAW_PRICES, {day: prices.pop(day) for day in wanted})
            _describe(context, REJECTED_PRICES, refused)
            context.add_output_metadata(_run_metadata(collected), output_name=RAW_PRICES)
            yield dg.Output(arrival.quotes, RAW_PRICES)
            yield dg.Output(arrival.refusals, REJECTED_PRICES)
            _report(context, partitions, RAW_PRICES, prices)

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


def _run_metadata(collected: Collected) -> Metadata:
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


def _describe(context: dg.AssetExecutionContext, asset: str, days: Mapping[DayOfSymbol, Facts]) -> None:
    """Set the metadata of each partition of this run."""
    for day, facts in days.items():
        context.add_asset_metadata(as_metadata(facts), asset_key=asset, partition_key=partition_key(*day))


def _report(
    context: dg.AssetExecutionContext,
    partitions: dg.MultiPartitionsDefinition,
    asset: str,
    days: Mapping[DayOfSymbol, Facts],
) -> None:
    """Report partitions that Dagster does not mark by itself: neighbour days, the good part of a failed run."""
    for day, facts in days.items():
        if partitions.has_partition_key(str(partition_key(*day))):
            context.log_event(materialization(asset, day, as_metadata(facts)))
