"""The jobs that the schedules start: ranges of partitions with the overview, and the look at the ledger."""

import dagster as dg

from market_pipeline.defs.check_names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.defs.market_overview import MARKET_OVERVIEW
from market_pipeline.defs.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.request_ledger import REQUEST_LEDGER

TICK = "tick"
COMPLETE_DAYS = "complete_days"
SCORE_DAYS = "score_days"
ACCOUNT_REQUESTS = "account_requests"

_EVERYTHING = dg.AssetSelection.assets(RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES, MARKET_OVERVIEW)
# The other checks look at many days or need a request of their own; once a day is enough for them.
_CHECKS_OF_A_TICK = dg.AssetSelection.checks(
    *(dg.AssetCheckKey(dg.AssetKey(RAW_PRICES), name) for name in (FUTURE, NEGATIVE, REJECTED, QUOTED, FRESH))
)

JOBS = [
    dg.define_asset_job(
        TICK,
        _EVERYTHING.without_checks() | _CHECKS_OF_A_TICK,
        description="Today's prices of all symbols with one request, checks, anomalies and the overview.",
        tags={"dagster/max_runtime": "600"},
    ),
    dg.define_asset_job(
        COMPLETE_DAYS,
        _EVERYTHING,
        description="Past days completed from hourly history, checked and scored again.",
    ),
    dg.define_asset_job(
        SCORE_DAYS,
        dg.AssetSelection.assets(PRICE_ANOMALIES),
        description="Anomalies computed again from what is stored; nothing is asked of CoinGecko.",
    ),
    dg.define_asset_job(
        ACCOUNT_REQUESTS,
        dg.AssetSelection.assets(REQUEST_LEDGER),
        description="What the last hour's requests cost and what is left of the plan; asks CoinGecko nothing.",
        tags={"dagster/max_runtime": "600"},
    ),
]
