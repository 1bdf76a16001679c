"""The asset `request_ledger`: what was asked of CoinGecko and what of its limits is left."""

import dagster as dg

from market_pipeline.clock import utc_now
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.metadata import GROUP, OWNERS, table_metadata
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.storage import bookkeeping
from market_pipeline.storage.schema import check_schema

REQUEST_LEDGER = "request_ledger"


def build_request_ledger(kinds: set[str]) -> dg.AssetsDefinition:
    """The unpartitioned look at the ledger; every request writes it, this asset only shows it."""

    @dg.asset(
        name=REQUEST_LEDGER,
        description="Requests to CoinGecko by every process that shares this database: how many the last "
        "full hour (UTC) brought and what they cost, by endpoint, outcome and plan, as numbers that the UI "
        "plots over time; what is left of the limits; the last 24 hours as a table.",
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
        metadata=table_metadata(bookkeeping.request_ledger, "added to by every request"),
    )
    @logged_step
    def request_ledger(
        context: dg.AssetExecutionContext, database: DatabaseResource
    ) -> dg.MaterializeResult[None]:
        from market_pipeline.defs.ledger_metadata import ledger_metadata
        from market_pipeline.settings import load_settings

        store = database.database()
        check_schema(store)
        metadata = ledger_metadata(store, load_settings(), utc_now())
        return dg.MaterializeResult(metadata=metadata)

    return request_ledger
