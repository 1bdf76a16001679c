"""Holes of an outage filled through Dagster, in real time."""

from datetime import timedelta

import pytest

from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.simulator.faults import Fault

pytestmark = pytest.mark.slow

HOUR = timedelta(hours=1)


def an_outage_in(world, hours):
    """What a world looks like whose last tick was some hours ago."""
    for symbol in world.symbols:
        world.insert(symbol=symbol, timestamp=utc_now() - hours * HOUR, price=1.0)


def test_a_scheduled_tick_fills_the_hole_of_an_outage(world):
    """In real time, through Dagster; close to midnight a part of the points is yesterday's."""
    an_outage_in(world, hours=6)
    assert world.tick().success
    assert [sent.path.rsplit("/", 1)[-1] for sent in world.simulator.requests] == ["price"] + ["range"] * 5
    metadata = world.latest_metadata("raw_prices", world.today, "BTC")
    filled = [row for row in world.prices() if row["source"] == "market_chart"]
    assert metadata["holes_filled"] == len(filled) >= 5 * 68
    assert "holes_unfilled" not in metadata and metadata["requests_in_this_run"] == 6
    expected = {f"{row['timestamp'].date()}|{row['symbol']}" for row in filled}
    assert expected <= world.materialized("raw_prices")
    world.simulator.clear_requests()
    assert world.tick().success
    assert [sent.path for sent in world.simulator.requests] == ["/simple/price"]


def test_a_hole_that_begins_before_midnight_marks_yesterday_too(world):
    an_outage_in(world, hours=23)
    assert world.tick().success
    yesterday = {row["symbol"] for row in world.prices() if row["timestamp"] < start_of_day(world.today)}
    marked = {key for key in world.materialized("raw_prices") if key.startswith(str(world.days_ago(1)))}
    assert marked == {f"{world.days_ago(1)}|{symbol}" for symbol in yesterday}


def test_a_hole_that_cannot_be_filled_does_not_fail_the_tick(world):
    an_outage_in(world, hours=2)
    world.simulator.add_fault(Fault(kind="status", status=400, code=10012, path="/coins/solana", times=None))
    result = world.tick()
    assert result.success
    metadata = world.latest_metadata("raw_prices", world.today, "SOL")
    assert metadata["holes_unfilled"].startswith("SOL: ")
    assert {row["symbol"] for row in world.prices() if row["source"] == "market_chart"} == {
        "BTC", "ETH", "ADA", "DOT"
    }
