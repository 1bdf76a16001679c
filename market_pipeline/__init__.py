"""Collect cryptocurrency prices from CoinGecko, reject bad data, store history, flag anomalies.

`docs/architecture.md` shows the rooms of the package and which may import which. Notebooks and scripts read what is
stored with `open_market`.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_pipeline.pipeline.market import Market as Market
    from market_pipeline.pipeline.market import open_market as open_market

__version__ = "0.2.0"


def __getattr__(name: str) -> Any:
    """Import the reader of stored data when it is first used: every process of the pipeline imports this package."""
    if name not in ("Market", "open_market"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from market_pipeline.pipeline import market

    return getattr(market, name)
