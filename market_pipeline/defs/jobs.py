"""The jobs: the tick, the completion of past days, the scores, the calibration, the ledger, the retention."""

from typing import Any

import dagster as dg

from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.detector_calibration import DETECTOR_CALIBRATION
from market_pipeline.defs.assets.market_overview import MARKET_OVERVIEW
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.assets.request_ledger import REQUEST_LEDGER
from market_pipeline.pipeline.names import (
    ACCOUNT_REQUESTS,
    CALIBRATE_DETECTORS,
    COMPLETE_DAYS,
    RETENTION,
    SCORE_DAYS,
    STORAGE_RETENTION,
    TICK,
)

# Short runs go before a queue of history.
_SHORT = {"dagster/priority": "5"}
_TEN_MINUTES = {"dagster/max_runtime": "600"}
_ONE_HOUR = {"dagster/max_runtime": "3600"}

# Each with all of its checks.
_PRICES = dg.AssetSelection.assets(RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES, MARKET_OVERVIEW)


# Dagster has no public name for what define_asset_job returns.
def build_jobs(owner: Owner) -> list[Any]:
    """Define the jobs; their runs carry the tags of `owner`."""
    return [
        dg.define_asset_job(
            TICK,
            _PRICES,
            description="Collects today's prices of all symbols with one request, checks and scores them, and renews "
            "the overview.",
            tags={**owner.tags, **_TEN_MINUTES},
        ),
        dg.define_asset_job(
            COMPLETE_DAYS,
            # The coverage and its checks read many days and may send a request; once a day is enough.
            _PRICES | dg.AssetSelection.assets(DAILY_BARS, PRICE_COVERAGE),
            description="Completes past days from hourly history, checks and scores them, writes their bars, and "
            "measures the coverage.",
            tags=owner.tags,
        ),
        dg.define_asset_job(
            SCORE_DAYS,
            dg.AssetSelection.assets(PRICE_ANOMALIES, DAILY_BARS),
            description="Recomputes anomalies and bars from stored prices, without a request.",
            tags=owner.tags,
        ),
        dg.define_asset_job(
            CALIBRATE_DETECTORS,
            dg.AssetSelection.assets(DETECTOR_CALIBRATION),
            description="Calibrates the detectors from the last 90 days, for the days from the coming midnight on.",
            tags={**owner.tags, **_SHORT},
        ),
        dg.define_asset_job(
            ACCOUNT_REQUESTS,
            dg.AssetSelection.assets(REQUEST_LEDGER),
            description="Shows what the last hour's requests cost and what is left of the plan, without a request.",
            tags={**owner.tags, **_SHORT, **_TEN_MINUTES},
        ),
        dg.define_asset_job(
            RETENTION,
            dg.AssetSelection.assets(STORAGE_RETENTION),
            description="Deletes old runs that newer ones have superseded, and thins old prices if "
            "RAW_PRICES_KEEP_DAYS is set.",
            tags={**owner.tags, **_ONE_HOUR},
        ),
    ]
