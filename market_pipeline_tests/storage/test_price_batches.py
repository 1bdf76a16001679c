"""All prices in batches, oldest first: every row once, wherever a batch ends."""

import pytest

from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.price_batches import price_batches
from market_pipeline.storage.schema.tables import price_anomalies, raw_prices
from market_pipeline_tests.builders import anomaly_row, at, price_row, store


@pytest.mark.parametrize("rows", [2, 3, 100])
def test_every_price_comes_once_with_its_quality(database: Database, rows: int) -> None:
    """A bad tick is known in every batch that has a quote of it."""
    prices = [100.0, 900.0, 901.0, 100.5, 101.0, 102.0]
    store(database, raw_prices, *(price_row(minutes=minute, price=price) for minute, price in enumerate(prices)))
    store(database, raw_prices, price_row("ETH", 2), price_row(minutes=2, coin_id="another"))
    store(database, price_anomalies, anomaly_row(minutes=1, kind="bad_tick", price_after=900.0, detected_at=at(3)))
    batches = list(price_batches(database, "BTC", at(0), at(5), rows))
    assert all(len(batch) == rows for batch in batches[:-1])
    found = [row for batch in batches for row in batch.to_pylist()]
    assert [(row["timestamp"], row["price"], row["ingested_at"], row["source"]) for row in found] == [
        (at(minute), prices[minute], at(minute + 1), "simple_price") for minute in range(5)
    ]
    assert [row["quality"] for row in found] == ["ok", "bad_tick", "bad_tick", "ok", "ok"]
    assert list(price_batches(database, "BTC", at(6), at(9), rows)) == []
