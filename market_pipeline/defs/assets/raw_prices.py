"""The assets `raw_prices` and `rejected_prices`: a run collects its days with `pipeline.collect`."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import dagster as dg

from market_pipeline.coingecko.errors import CoinGeckoError, SourceDown, TransientError
from market_pipeline.core.columns import Columns
from market_pipeline.core.links import symbol_page
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.wording import some
from market_pipeline.dagster_instance.nonpublic import describe_partitions
from market_pipeline.dagster_instance.reports import as_metadata, materialization
from market_pipeline.defs.assets.coingecko import HISTORY, LIVE_PRICES
from market_pipeline.defs.assets.table_metadata import (
    EVERY_TICK,
    INGEST,
    OWNERS,
    QUALITY,
    SHOWN_SYMBOLS,
    table_metadata,
)
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, days_of_run, partition_key
from market_pipeline.defs.resources import CoinGeckoResource
from market_pipeline.pipeline.collect import Facts, collect, store
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.prices.collection import Collection
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

RAW_PRICES = "raw_prices"
REJECTED_PRICES = "rejected_prices"
REQUESTS = "requests_in_this_run"

_DESCRIPTIONS = {
    RAW_PRICES: "Accepted quotes in US dollars, by UTC day and symbol. Today is updated with one live request for all "
    "symbols, and gaps of the last 24 hours are filled with 5-minute points; a past day is updated with its hourly "
    "history. Materializing a day again changes nothing.",
    REJECTED_PRICES: "Quarantine: points that were refused before they reached `raw_prices`, with the reason and the "
    "offending part of the answer.",
}
# Dagster stores the metadata of a run with each of its partitions.
_SHOWN = 10


_GROUPS = {RAW_PRICES: INGEST, REJECTED_PRICES: QUALITY}


def build_raw_prices(
    partitions: dg.MultiPartitionsDefinition, settings: Settings, database_kind: str
) -> dg.AssetsDefinition:
    """Define the multi-asset of the coins in `settings`; `collect_cron` decides which silence is a gap."""
    catalogue, described = settings.catalogue, _Described(partitions, settings.api_url)

    @dg.multi_asset(
        name="collect_prices",
        outs={asset: _out(asset, database_kind) for asset in _DESCRIPTIONS},
        deps=[LIVE_PRICES, HISTORY],
        # Either can be materialized alone in the UI; what the requests bring of the other is stored as well.
        can_subset=True,
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
    )
    @logged_step
    def collect_prices(
        context: dg.AssetExecutionContext,
        coingecko: dg.ResourceParam[CoinGeckoResource],
        database: dg.ResourceParam[Database],
    ) -> Iterator[dg.Output[Columns]]:
        days = days_of_run(context, catalogue.symbols)
        if not days:
            return
        check_schema(database)
        with coingecko.client() as client:
            arrival = collect(
                database, client, catalogue, days,
                now=client.clock(), run_id=context.run.run_id, collect_cron=settings.collect_cron,
            )
        collected, prices, refused = arrival.collected, dict(arrival.price_facts), arrival.refusal_facts
        if collected.failures:
            # The IO manager stores only what is returned.
            store(database, arrival)
            described.report(context, RAW_PRICES, prices)
            described.report(context, REJECTED_PRICES, refused)
            raise collection_failure(collected.failures, collected.clock_skew)
        of_run = {RAW_PRICES: {day: prices.pop(day) for day in days}, REJECTED_PRICES: refused}
        rows = {RAW_PRICES: arrival.quotes, REJECTED_PRICES: arrival.refusals}
        selected = {key.to_user_string() for key in context.selected_asset_keys}
        for asset in rows.keys() - selected:
            upsert(database, tables.metadata.tables[asset], rows[asset])
            described.report(context, asset, of_run[asset])
        for asset in [asset for asset in rows if asset in selected]:
            described.of_run(context, asset, of_run[asset])
        if RAW_PRICES in selected:
            context.add_output_metadata(_run_metadata(collected), output_name=RAW_PRICES)
        for asset in [asset for asset in rows if asset in selected]:
            yield dg.Output(rows[asset], asset)
        # What remains are neighbouring days, which received a quote without being part of the run.
        described.report(context, RAW_PRICES, prices)

    return collect_prices


def _out(asset: str, database_kind: str) -> dg.AssetOut:
    return dg.AssetOut(
        description=_DESCRIPTIONS[asset],
        metadata=table_metadata(tables.metadata.tables[asset], write_mode="upsert"),
        group_name=_GROUPS[asset],
        owners=OWNERS,
        tags=EVERY_TICK,
        kinds={"table", database_kind},
        # A run whose partitions no longer exist returns nothing, and the assets after it are skipped.
        is_required=False,
    )


@dataclass(frozen=True)
class _Described:
    """The `partitions` of both assets with their metadata, which link the page of the symbol at `api_url`."""

    partitions: dg.MultiPartitionsDefinition
    api_url: str

    def metadata(self, asset: str, day: DayOfSymbol, facts: Facts) -> dict[str, Any]:
        """Return the metadata of the partition `day` of `asset`."""
        page = {"page": dg.MetadataValue.url(symbol_page(self.api_url, day[1], day[0]))}
        return as_metadata(day, facts) | (page if asset == RAW_PRICES else {})

    def of_run(self, context: dg.AssetExecutionContext, asset: str, days: Mapping[DayOfSymbol, Facts]) -> None:
        """Describe partitions that Dagster records with the output of the run."""
        described: dict[str, dict[str, Any]] = {
            partition_key(*day): self.metadata(asset, day, facts) for day, facts in days.items()
        }
        describe_partitions(context, asset, described)

    def report(self, context: dg.AssetExecutionContext, asset: str, days: Mapping[DayOfSymbol, Facts]) -> None:
        """Report partitions that Dagster does not record by itself, as far as they exist."""
        for day, facts in days.items():
            if self.partitions.has_partition_key(str(partition_key(*day))):
                context.log_event(materialization(asset, day, self.metadata(asset, day, facts)))


def _run_metadata(collected: Collection) -> dict[str, Any]:
    """Return what concerns the whole run, as text: Dagster stores and would plot it with each partition."""
    metadata: dict[str, Any] = {
        REQUESTS: str(collected.requests),
        "holes_filled": str(len(collected.filled)),
    }
    if collected.unfilled:
        first_reason = next(iter(collected.unfilled.values()))
        metadata["holes_unfilled"] = f"{some(list(collected.unfilled), _SHOWN)}: {first_reason}"
    if collected.unasked:
        metadata["unasked_coins"] = ", ".join(collected.unasked)
    return metadata


def collection_failure(failures: Mapping[str, CoinGeckoError], clock_skew: float | None) -> dg.Failure:
    """Return the failure of a run in which these symbols could not be collected; a wrong clock is named first."""
    first = next(iter(failures.values()))
    unasked = [symbol for symbol, error in failures.items() if isinstance(error, SourceDown)]
    failed = [symbol for symbol in failures if symbol not in unasked]
    sentences = [
        complaint(clock_skew),
        f"No prices for {some(failed, 20)}: {first.verdict}",
        f"{some(unasked, 20)} were not requested after that." if unasked else "",
        "Stored rows remain; the same partitions can be materialized again at any time."
        if isinstance(first, TransientError)
        else "Remove the cause before materializing the same partitions again.",
    ]
    return dg.Failure(
        description=" ".join(sentence for sentence in sentences if sentence),
        metadata={
            "symbols": ", ".join(failures),
            "endpoint": first.endpoint,
            "status": first.status if first.status is not None else "no answer",
            "attempts": first.attempts,
            "verdict": first.verdict,
            "errors": dg.MetadataValue.md(
                "\n".join(f"- **{symbol}**: {error}" for symbol, error in list(failures.items())[:SHOWN_SYMBOLS])
            ),
        },
        allow_retries=False,
    )
