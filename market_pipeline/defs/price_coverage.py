"""The asset `price_coverage`: how complete the stored history is, as numbers that the UI plots over time.

The checks of the history belong to it, because a check counts as evaluated only until its asset is
materialized again: this asset is as old as they are, `raw_prices` is renewed by every tick.
"""

from datetime import date

import dagster as dg

from market_pipeline.clock import utc_now
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.metadata import GROUP, OWNERS
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.storage.schema import check_schema
from market_pipeline.symbols import Catalogue

PRICE_COVERAGE = "price_coverage"


def build_price_coverage(catalogue: Catalogue, history_start: date) -> dg.AssetsDefinition:
    """The unpartitioned measure of the past days of all coins in `catalogue`, from `history_start` on."""

    @dg.asset(
        name=PRICE_COVERAGE,
        description="How complete the stored history is: of the last 90 past days of each symbol how many "
        "are complete and how many lack prices, with points, largest gap and known gaps of the source, as "
        "numbers that the UI plots over time and as a table. A day lacks prices if it has a gap of more than "
        "two hours, unless an answer proved that the source itself has nothing there.",
        deps=[RAW_PRICES],
        group_name=GROUP,
        owners=OWNERS,
        kinds={"python"},
    )
    @logged_step
    def price_coverage(
        context: dg.AssetExecutionContext, database: DatabaseResource
    ) -> dg.MaterializeResult[None]:
        from market_pipeline.defs.coverage_metadata import coverage_metadata
        from market_pipeline.storage.past_days import past_days

        store = database.database()
        check_schema(store)
        metadata = coverage_metadata(past_days(store, catalogue, history_start, utc_now()))
        return dg.MaterializeResult(metadata=metadata)

    return price_coverage
