"""The asset `daily_bars`: open, high, low, close, volatility and completeness of each past day."""

from typing import Any

import dagster as dg

from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.links import symbol_page
from market_pipeline.dagster_instance.nonpublic import describe_partitions
from market_pipeline.dagster_instance.reports import as_metadata
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import DETECT, EVERY_DAY, OWNERS, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, days_of, partition_key
from market_pipeline.pipeline.bars import bar_facts, bar_rows, thinning_limit
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

DAILY_BARS = "daily_bars"

# The columns of a bar by what they are made from; bad ticks, which do not count, come from the anomalies.
_MADE_FROM = {
    ("symbol",): ("symbol",),
    ("coin_id",): ("coin_id",),
    ("timestamp",): ("day", "completeness"),
    ("price",): ("high", "low"),
    ("price", "timestamp"): ("open", "close", "quotes", "realised_volatility"),
}


def build_daily_bars(
    partitions: dg.MultiPartitionsDefinition, settings: Settings, database_kind: str
) -> dg.AssetsDefinition:
    """Define the asset over the partitions of `raw_prices`."""

    @dg.asset(
        name=DAILY_BARS,
        description="Open, high, low, close, number of quotes, realised volatility and completeness of each past UTC "
        "day, from its accepted quotes without bad ticks. Written when its history is completed and when it is scored "
        "again; a day that is not over has no bar.",
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
        ins={RAW_PRICES: dg.AssetIn(metadata={"columns": ["symbol", "timestamp", "price"]})},
        # Which quotes are bad ticks is known once the day is scored.
        deps=[PRICE_ANOMALIES],
        metadata={
            **table_metadata(tables.daily_bars, write_mode="replace"),
            "dagster/column_lineage": _lineage(),
        },
        group_name=DETECT,
        owners=OWNERS,
        tags=EVERY_DAY,
        kinds={"table", database_kind},
    )
    @logged_step
    def daily_bars(
        context: dg.AssetExecutionContext, raw_prices: Columns, database: dg.ResourceParam[Database]
    ) -> Columns:
        days, now = days_of(context.partition_keys), utc_now()
        bars = bar_rows(database, raw_prices, days, now, thinning_limit(settings.raw_prices_keep_days, now))
        described: dict[str, dict[str, Any]] = {
            partition_key(*day): {
                **as_metadata(day, facts), "page": dg.MetadataValue.url(symbol_page(settings.api_url, day[1], day[0]))
            }
            for day, facts in bar_facts(bars, days).items()
        }
        describe_partitions(context, DAILY_BARS, described)
        return bars

    return daily_bars


def _lineage() -> dg.TableColumnLineage:
    deps = {}
    for sources, columns in _MADE_FROM.items():
        made_from = [dg.TableColumnDep(asset_key=dg.AssetKey(RAW_PRICES), column_name=name) for name in sources]
        deps.update({column: made_from for column in columns})
    return dg.TableColumnLineage(deps)
