"""The endpoints of CoinGecko as external assets, which head the lineage.

The hourly run of the ledger reports those that answered: the UI counts an external asset without an event as missing.
"""

from collections import Counter
from collections.abc import Iterable, Iterator

import dagster as dg

from market_pipeline.budget.ledger import LedgerRow
from market_pipeline.dagster_instance.nonpublic import DATA_VERSION, NEVER_MATERIALIZED
from market_pipeline.defs.assets.table_metadata import INGEST

LIVE_PRICES = dg.AssetKey(["coingecko", "simple_price"])
HISTORY = dg.AssetKey(["coingecko", "market_chart_range"])
COINS_LIST = dg.AssetKey(["coingecko", "coins_list"])

# The outcome of a request in the ledger: its HTTP status.
ANSWERED = "200"

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


def answered(day: Iterable[LedgerRow]) -> Iterator[dg.AssetMaterialization]:
    """Yield an event for each endpoint that answered, by the rows of a `day`.

    Its data version is the one of an asset without events, so that it marks no prices as outdated.
    """
    counts: Counter[str] = Counter()
    for row in day:
        counts[row.endpoint] += row.requests if row.outcome == ANSWERED else 0
    for key, (path, _, _) in _ENDPOINTS.items():
        if counts[path]:
            metadata = {"answers_24h": counts[path]}
            yield dg.AssetMaterialization(key, metadata=metadata, tags={DATA_VERSION: NEVER_MATERIALIZED})
