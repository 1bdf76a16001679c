"""Real prices, replayed as if they happened now: the pipeline collects, completes and flags them."""

from collections import defaultdict
from datetime import date, timedelta
from pathlib import Path

import pytest

from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.simulator.recorded_prices import RecordedPrices
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.schema import tables

PRICES = Path(__file__).parents[3] / "shared" / "prices" / "2022-11_5min.csv.gz"

# What happened on these days: FTX's collapse, Binance walking away, a US inflation figure.
EVENTS = [date(2022, 11, 8), date(2022, 11, 9), date(2022, 11, 10)]


@pytest.fixture
def replay():
    if not PRICES.exists():
        pytest.skip("the recorded prices are not part of the project")
    return RecordedPrices(PRICES, KNOWN_COINS)


@pytest.fixture
def simulator(replay):
    with Simulator(replay, plan="pro") as running:
        yield running


@pytest.mark.slow
def test_the_days_of_november_2022_are_collected_and_flagged(world, replay):
    assert world.tick().success
    assert {row["symbol"] for row in world.prices()} == set(world.symbols)

    played = {replay.plays_at(start_of_day(day)).date(): day for day in EVENTS}
    assert max(played) < utc_now().date()
    assert world.complete(min(played) - timedelta(days=7), max(played)).success

    flagged = defaultdict(set)
    for row in world.rows(tables.price_anomalies):
        flagged[row["timestamp"].date()].add(row["symbol"])
    for day, recorded in played.items():
        assert len(flagged[day]) >= 3, f"{recorded} moved all coins, flagged were {flagged[day]}"
    quiet = [day for day in sorted(flagged) if day < min(played)]
    assert len(quiet) <= 4, "the week before was ordinary"
