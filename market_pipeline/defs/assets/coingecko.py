"""The endpoints of CoinGecko as external assets, which head the lineage. Nothing materializes them."""

import dagster as dg

from market_pipeline.defs.assets.table_metadata import INGEST

LIVE_PRICES = dg.AssetKey(["coingecko", "simple_price"])
HISTORY = dg.AssetKey(["coingecko", "market_chart_range"])
COINS_LIST = dg.AssetKey(["coingecko", "coins_list"])

_REFERENCE = "https://docs.coingecko.com/reference"
_ENDPOINTS = {
    LIVE_PRICES: (
        "/simple/price", "simple-price", "The current prices of all coins, by one request a tick."
    ),
    HISTORY: (
        "/coins/{id}/market_chart/range", "coins-id-market-chart-range",
        "The history of one coin: a price an hour for up to 90 days, one in five minutes for the last day.",
    ),
    COINS_LIST: (
        "/coins/list", "coins-list", "Every coin with its id, by one request a day: is a configured coin still listed?"
    ),
}


def build_endpoints() -> list[dg.AssetSpec]:
    """Define an external asset for each endpoint that data come from."""
    return [
        dg.AssetSpec(
            key,
            description=description,
            group_name=INGEST,
            kinds={"source", "json"},
            metadata={
                "endpoint": f"GET {path}",
                "documentation": dg.MetadataValue.url(f"{_REFERENCE}/{page}"),
            },
        )
        for key, (path, page, description) in _ENDPOINTS.items()
    ]
