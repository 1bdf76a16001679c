"""Stored prices in any number, made by the database's own writer."""

import numpy as np

from market_pipeline.core.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices

_LAST = np.datetime64("2026-11-01T00:00:00", "us")


def store_prices(database: Database, rows: int, symbol: str = "BTC") -> None:
    """`rows` one-minute prices of `symbol` that end on 2026-11-01."""
    times = _LAST - np.timedelta64(60, "s") * np.arange(rows)
    prices = {
        "symbol": np.full(rows, symbol, dtype=object),
        "coin_id": np.full(rows, database.coin_id(symbol), dtype=object),
        "timestamp": times,
        "price": 60_000 + 1_000 * np.sin(np.arange(rows) / 500.0),
        "source": np.full(rows, "simple_price", dtype=object),
        "ingested_at": times + np.timedelta64(20, "s"),
    }
    upsert(database, raw_prices, Columns(prices))
