"""The jobs that the schedules start: both bring a range of partitions and the overview up to date."""

import dagster as dg

from market_pipeline.defs.market_overview import MARKET_OVERVIEW
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES, REJECTED_PRICES

TICK = "tick"
COMPLETE_DAYS = "complete_days"

_EVERYTHING = dg.AssetSelection.assets(RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES, MARKET_OVERVIEW)


JOBS = [
    dg.define_asset_job(
        TICK,
        _EVERYTHING,
        description="Today's prices of all symbols with one request, checks, anomalies and the overview.",
        tags={"dagster/max_runtime": "600"},
    ),
    dg.define_asset_job(
        COMPLETE_DAYS,
        _EVERYTHING,
        description="Past days completed from hourly history, checked and scored again.",
    ),
]
