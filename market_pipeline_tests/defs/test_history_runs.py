"""Runs over past days: completed from history with the fewest requests, safe to repeat."""

from datetime import timedelta

import dagster as dg
import pytest

from market_pipeline.core.clock import start_of_day
from market_pipeline.defs.partitions import partition_key
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.schema import tables

pytestmark = pytest.mark.slow


def asked_for_prices(world):
    """The endpoints of the requests for prices, in order; the coin list is asked for once a day besides."""
    ends = [request.path.rsplit("/", 1)[-1] for request in world.simulator.requests]
    return [end for end in ends if end != "list"]


def test_a_past_day_is_completed_from_hourly_history(world):
    yesterday = world.days_ago(1)
    assert world.complete(yesterday, yesterday).success
    assert asked_for_prices(world) == ["range"] * len(world.symbols)
    for symbol in world.symbols:
        metadata = world.latest_metadata("raw_prices", yesterday, symbol)
        stored = [
            row for row in world.prices() if row["symbol"] == symbol and row["timestamp"].date() == yesterday
        ]
        assert metadata["dagster/row_count"] == len(stored)
        assert 20 <= len(stored) <= 28
        assert {row["source"] for row in stored} == {"market_chart"}


def test_a_range_of_days_is_one_request_a_symbol(world_of, database):
    world = world_of(database)
    first, last = world.days_ago(10), world.days_ago(3)
    assert world.complete(first, last, ["BTC", "ETH"]).success
    assert asked_for_prices(world) == ["range"] * 2
    expected = {
        str(partition_key(first + timedelta(days=n), symbol)) for n in range(8) for symbol in ("BTC", "ETH")
    }
    assert expected <= world.materialized("raw_prices")
    assert world.materialized("price_anomalies") == expected


def test_running_the_same_days_again_changes_nothing(world):
    first, last = world.days_ago(4), world.days_ago(2)
    world.complete(first, last, ["BTC", "ETH"])
    prices, anomalies = world.prices(), world.rows(tables.price_anomalies)
    world.complete(first, last, ["BTC", "ETH"])
    assert world.prices() == prices
    assert world.rows(tables.price_anomalies) == anomalies


def test_a_day_has_the_same_anomalies_alone_and_in_a_range(world):
    first, last = world.days_ago(15), world.days_ago(1)
    world.complete(first, last, ["BTC", "ADA"])
    in_range = world.rows(tables.price_anomalies)
    assert in_range, "the simulated market jumps now and then"
    flagged = max(row["timestamp"].date() for row in in_range)
    world.complete(flagged, flagged, ["BTC", "ADA"])
    assert world.rows(tables.price_anomalies) == in_range


def test_the_good_symbols_of_a_failed_run_are_kept_and_marked(world):
    yesterday = world.days_ago(1)
    world.simulator.add_fault(Fault(kind="status", status=400, code=10012, times=None, path="/coins/cardano"))
    result = world.complete(yesterday, yesterday)
    assert not result.success
    good = set(world.symbols) - {"ADA"}
    assert {row["symbol"] for row in world.prices()} == good
    assert {key.split("|")[1] for key in world.materialized("raw_prices")} == good
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert failure.step_failure_data.user_failure_data.metadata["symbols"].value == "ADA"
    assert {key.split("|")[1] for key in world.materialized("rejected_prices")} == good
    assert world.materialized("price_anomalies") == set()
    world.simulator.clear_faults()
    assert world.complete(yesterday, yesterday, ["ADA"]).success
    assert {row["symbol"] for row in world.prices()} == set(world.symbols)


def test_a_range_up_to_today_collects_history_and_the_live_price(world):
    assert world.complete(world.days_ago(2), world.today, ["SOL"]).success
    assert {row["source"] for row in world.prices()} == {"market_chart", "simple_price"}
    assert asked_for_prices(world) == ["price", "range"]


def test_a_coin_that_coingecko_does_not_know_does_not_keep_the_others_from_their_anomalies(world):
    """A renamed id would otherwise mean that no night completes any coin."""
    yesterday = world.days_ago(1)
    world.simulator.add_fault(Fault(kind="status", status=404, times=None, path="/coins/cardano"))
    result = world.complete(yesterday, yesterday)
    assert result.success
    assert {row["symbol"] for row in world.prices()} == set(world.symbols) - {"ADA"}
    refused = world.rows(tables.rejected_prices)
    assert [(row["symbol"], row["reason"], row["day"]) for row in refused] == [
        ("ADA", "missing_price", yesterday)
    ]
    quoted = world.checks(result)["every_symbol_quoted"]
    assert (quoted.passed, quoted.severity) == (False, dg.AssetCheckSeverity.ERROR)
    assert quoted.metadata["symbols"].value == "ADA"


def test_the_point_at_the_last_midnight_does_not_turn_the_next_day_green(world, market, monkeypatch):
    """It lies inside the window that was asked for, and completes no day."""
    day = world.days_ago(3)
    midnight = start_of_day(day) + timedelta(days=1)
    points = market.points
    monkeypatch.setattr(market, "points", lambda *asked: [*points(*asked), (midnight, 1.0)])
    assert world.complete(day, day, ["BTC"]).success
    assert max(row["timestamp"] for row in world.prices()) == midnight
    assert world.materialized("raw_prices") == {str(partition_key(day, "BTC"))}


def test_an_outage_names_who_failed_and_who_was_not_asked_for(world):
    """The last sign of an outage is looked for at the other end of the symbols."""
    world.simulator.add_fault(Fault(kind="html", path="/coins/", times=None))
    result = world.complete(world.days_ago(1), world.days_ago(1))
    assert len(world.simulator.requests) == 3
    failure = next(event for event in result.all_events if event.is_step_failure)
    description = failure.step_failure_data.user_failure_data.description
    assert description.startswith("No prices for ADA, BTC, SOL: a web page (HTML) came instead of JSON")
    assert "After that nothing was asked for DOT, ETH." in description
