"""The asset `detector_calibration`: what is usual for each coin, learned once a day from the last 90 days.

The calibration made during a day is the one of the day that follows: its as-of time is the coming
midnight. So no row of the day at hand changes when it arrives, and every later day is scored with what
was known when it began.
"""

import dagster as dg

from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.clock import utc_now
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.metadata import GROUP, OWNERS, table_metadata
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.storage import tables
from market_pipeline.storage.schema import check_schema
from market_pipeline.symbols import Catalogue

DETECTOR_CALIBRATION = "detector_calibration"

# The data version that Dagster notes for what was not there yet. Calibrations are only ever added, and
# each for later days: for a day that is scored nothing has changed, and it must not show as outdated.
_NOTHING_CHANGED = dg.DataVersion("INITIAL")


def build_detector_calibration(catalogue: Catalogue, kinds: set[str]) -> dg.AssetsDefinition:
    """The unpartitioned calibration from the prices of all coins in `catalogue`."""

    @dg.asset(
        name=DETECTOR_CALIBRATION,
        description="What is usual: how volatile each hour of the day and each coin is, and how often which score "
        "came, learned from the last 90 days of all symbols. Made once a day for the days from the coming midnight "
        "on, stored with that as-of time and never changed, so that a day scored again gives the same rows.",
        deps=[RAW_PRICES],
        code_version=DETECTOR_VERSION,
        metadata=table_metadata(tables.detector_calibrations, write_mode="insert"),
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
    )
    @logged_step
    def detector_calibration(
        context: dg.AssetExecutionContext, database: DatabaseResource
    ) -> dg.MaterializeResult[None]:
        from market_pipeline.defs.calibrating import calibrate_due
        from market_pipeline.defs.calibration_metadata import calibration_metadata

        store = database.database()
        check_schema(store)
        made = calibrate_due(store, catalogue.symbols, utc_now())
        return dg.MaterializeResult(metadata=calibration_metadata(made), data_version=_NOTHING_CHANGED)

    return detector_calibration
