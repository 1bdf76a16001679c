"""A stored history for the tests of the API: prices with a few unusual moves, and what the detectors say of them."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import numpy as np

from market_pipeline.anomalies.detect import detect_days
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.pipeline.score import anomaly_rows
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
DAYS = 3
_EVERY = timedelta(minutes=5)


def fill(database, until: datetime | None = None, days: int = DAYS) -> tuple[Columns, list]:
    """Store five-minute prices of the `days` before `until` (now if not given) and their anomalies.

    Gives the prices and the anomalies. The last day has a crash of the whole market and a jump of SOL alone.
    """
    end = (until or utc_now()).astimezone(timezone.utc).replace(microsecond=0)
    count = int(timedelta(days=days) / _EVERY)
    times = np.array([np.datetime64((end - _EVERY * back).replace(tzinfo=None), "us") for back in range(count)][::-1])
    prices = Columns({
        "symbol": np.repeat(np.array(SYMBOLS, dtype=object), count),
        "coin_id": np.repeat(np.array([database.coin_id(symbol) for symbol in SYMBOLS], dtype=object), count),
        "timestamp": np.tile(times, len(SYMBOLS)),
        "price": np.concatenate([_walk(symbol, count) for symbol in SYMBOLS]),
        "source": np.full(count * len(SYMBOLS), "simple_price", dtype=object),
        "ingested_at": np.tile(times, len(SYMBOLS)) + np.timedelta64(20, "s"),
    })
    found = detect_days(
        prices, [((end - timedelta(days=back)).date(), symbol) for back in range(2) for symbol in SYMBOLS],
        lambda day: None,
    )
    upsert(database, raw_prices, prices)
    upsert(database, price_anomalies, anomaly_rows(database, found))
    return prices, found


def _walk(symbol: str, count: int) -> np.ndarray:
    rng = np.random.default_rng(sum(symbol.encode()))
    moves = 0.001 * rng.standard_t(5, count)
    moves[-100] -= 0.08
    if symbol == "SOL":
        moves[-40] += 0.12
    return {"BTC": 67_000.0, "ADA": 0.43}.get(symbol, 150.0) * np.exp(np.cumsum(moves))


def block_opening(monkeypatch, released):
    """Let no Dagster instance be opened before the event `released` is set."""
    opened = dg.DagsterInstance.from_config
    monkeypatch.setattr(dg.DagsterInstance, "from_config", lambda home: released.wait(60) and opened(home))
