"""Readers and collectors in a crowd, against the server as it is started: a few seconds of what `make bench` does."""

import pytest

from benchmarks.api import crowd
from benchmarks.api.rows import store_prices
from benchmarks.world import COINS
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.serving import SYMBOLS

SECONDS = 4.0


@pytest.mark.slow
def test_a_crowd_gets_its_answers_and_the_budget_is_obeyed(postgres_database: Database) -> None:
    simulated = Database(postgres_database.url, COINS)
    for symbol in SYMBOLS:
        store_prices(simulated, 1_000, symbol)
    found = crowd.crowd(simulated, SECONDS)
    simulated.dispose()
    assert found.errors == {}
    assert found.read.outcomes["200"] > crowd.READERS
    assert found.collected.outcomes["200"] > 0
    assert len(found.requests) >= found.collected.outcomes["200"]
    assert found.most_in_a_minute <= crowd.PER_MINUTE
    assert {request.status for request in found.requests} == {200}, "CoinGecko had to refuse nothing"
