"""A past price that CoinGecko changes: seen in the partition's metadata, explained by the revisions."""

import pytest
from sqlalchemy import select

from market_pipeline.storage.schema.operations_tables import price_revisions
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.builders import stored_rows

pytestmark = pytest.mark.slow


def test_a_day_fetched_again_with_another_price_counts_and_keeps_the_change(world_of, database):
    world = world_of(database)
    yesterday = world.days_ago(1)
    assert world.complete(yesterday, yesterday, ["BTC", "ETH"]).success
    assert world.latest_metadata("raw_prices", yesterday, "BTC")["prices_changed"] == 0
    with database.writing() as connection:
        first = select(raw_prices.c.timestamp).where(raw_prices.c.symbol == "BTC").limit(1).scalar_subquery()
        one = (raw_prices.c.symbol == "BTC") & (raw_prices.c.timestamp == first)
        connection.execute(raw_prices.update().where(one).values(price=1.0))
    assert world.complete(yesterday, yesterday, ["BTC", "ETH"]).success
    assert world.latest_metadata("raw_prices", yesterday, "BTC")["prices_changed"] == 1
    assert world.latest_metadata("raw_prices", yesterday, "ETH")["prices_changed"] == 0
    by_hand, repaired = stored_rows(world.database, price_revisions)
    assert (by_hand["price_after"], repaired["price_before"]) == (1.0, 1.0)
    assert repaired["price_after"] == by_hand["price_before"]
