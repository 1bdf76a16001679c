"""The asset `market_overview`: what a person opens first. Numbers per symbol that the UI plots over
time, a table of the last day's anomalies, and now and then a picture."""

import dagster as dg

from market_pipeline.clock import utc_now
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.metadata import GROUP, OWNERS
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.storage.schema import check_schema
from market_pipeline.symbols import Catalogue

MARKET_OVERVIEW = "market_overview"


def build_market_overview(catalogue: Catalogue) -> dg.AssetsDefinition:
    """The unpartitioned overview of all coins in `catalogue`."""

    @dg.asset(
        name=MARKET_OVERVIEW,
        description="The market at a glance: latest price, change over 24 hours and anomalies per symbol as numbers "
        "that the UI plots over time, the last 24 hours' anomalies as a table, and a picture, drawn at most once an "
        "hour or when an anomaly is new.",
        deps=[RAW_PRICES, PRICE_ANOMALIES],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"python"},
    )
    @logged_step
    def market_overview(
        context: dg.AssetExecutionContext, database: DatabaseResource
    ) -> dg.MaterializeResult[None]:
        from market_pipeline.defs.overview_metadata import overview_metadata

        store = database.database()
        check_schema(store)
        previous = context.instance.get_latest_materialization_event(dg.AssetKey(MARKET_OVERVIEW))
        last = previous.asset_materialization.metadata if previous and previous.asset_materialization else {}
        metadata = overview_metadata(store, catalogue, utc_now(), last)
        return dg.MaterializeResult(metadata=metadata)

    return market_overview
