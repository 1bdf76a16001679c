"""The scheduled tick: one run, one request, all symbols."""

from datetime import timedelta

import dagster as dg
import pytest

from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.defs.partitions import partition_key
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.schema import tables


def test_a_tick_collects_every_symbol_with_one_request(world_of, database):
    """On SQLite and on PostgreSQL alike."""
    world = world_of(database)
    result = world.tick()
    assert result.success
    assert [request.path for request in world.simulator.requests] == ["/simple/price"]
    assert {row["symbol"] for row in world.prices()} == set(world.symbols)
    today = {str(partition_key(world.today, symbol)) for symbol in world.symbols}
    assert world.materialized("raw_prices") >= today
    assert world.materialized("price_anomalies") == today
    assert all(check.passed for check in world.checks(result).values())
    metadata = world.latest_metadata("raw_prices", world.today, "BTC")
    assert metadata["requests_in_this_run"] == 1


def test_the_price_stored_is_the_price_served(world, market):
    world.tick()
    assert len(world.prices()) == len(world.symbols)
    for row in world.prices():
        coin_id = world.settings.catalogue.coin(row["symbol"]).source_id
        served, updated_at = market.quote(coin_id, row["timestamp"])
        assert (row["price"], row["timestamp"]) == (served, updated_at)
        assert timedelta(0) <= row["ingested_at"] - row["timestamp"] <= timedelta(minutes=2)


@pytest.mark.slow
def test_a_second_tick_on_the_same_answer_changes_nothing(world):
    world.tick()
    before = world.prices()
    served = {row["symbol"]: row["timestamp"] for row in before}
    world.tick()
    after = [row for row in world.prices() if row["timestamp"] <= served[row["symbol"]]]
    assert after == before


def test_a_coin_missing_from_the_answer_does_not_keep_the_others_away(world):
    world.simulator.add_fault(Fault(kind="missing_coin", coin="polkadot", path="/simple/price"))
    result = world.tick()
    assert result.success
    assert {row["symbol"] for row in world.prices()} == set(world.symbols) - {"DOT"}
    quoted = world.checks(result)["every_symbol_quoted"]
    assert not quoted.passed
    assert quoted.severity == dg.AssetCheckSeverity.ERROR
    assert quoted.metadata["symbols"].value == "DOT"
    refused = world.rows(tables.rejected_prices)
    assert [(row["symbol"], row["reason"], row["run_id"]) for row in refused] == [
        ("DOT", "missing_price", result.run_id)
    ]
    assert result.asset_materializations_for_node("price_anomalies")


def test_an_api_that_refuses_fails_the_run_with_a_verdict_and_stores_nothing(world):
    world.simulator.add_fault(Fault(kind="status", status=403))
    result = world.tick()
    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure)
    data = failure.step_failure_data.user_failure_data
    assert data.metadata["status"].value == 403
    assert data.metadata["attempts"].value == 1
    assert "BTC" in data.metadata["symbols"].value
    assert world.prices() == []
    assert world.materialized("raw_prices") == set()


def test_a_tick_that_finds_no_tables_says_which_command_makes_them(world_of, tmp_path):
    from sqlalchemy.engine import make_url

    from market_pipeline.storage.engine import Database

    world = world_of(Database(make_url(f"sqlite:///{tmp_path / 'empty.db'}")))
    result = world.tick()
    assert not result.success
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "market-pipeline migrate" in failure.step_failure_data.error_display_string


def test_a_quote_from_before_midnight_belongs_to_its_own_day(world):
    """Just after midnight the newest price at the source may still be yesterday's."""
    late = start_of_day(world.today) - timedelta(seconds=20)
    world.simulator.add_fault(
        Fault(kind="stale_timestamp", seconds=(utc_now() - late).total_seconds(), coin="bitcoin")
    )
    result = world.tick()
    assert result.success
    bitcoin = [row for row in world.prices() if row["symbol"] == "BTC"]
    assert [row["timestamp"].date() for row in bitcoin] == [world.days_ago(1)]
    assert str(partition_key(world.days_ago(1), "BTC")) in world.materialized("raw_prices")
    assert world.latest_metadata("raw_prices", world.days_ago(1), "BTC")["dagster/row_count"] == 1
    assert world.latest_metadata("raw_prices", world.today, "BTC")["dagster/row_count"] == 0


@pytest.mark.parametrize("kind", ["html", "error_body", "empty_object", "truncated_json"])
def test_no_answer_however_broken_crashes_the_run_or_is_stored(world, kind):
    world.simulator.add_fault(Fault(kind=kind, times=None))
    result = world.tick()
    assert world.simulator.requests
    assert world.prices() == []
    assert result.success == (kind == "empty_object"), "no coin in a good answer is no failed request"
    for event in result.all_events:
        if event.is_step_failure:
            assert (
                event.step_failure_data.user_failure_data is not None
            ), "a failure with a verdict, not a crash"


@pytest.mark.slow
def test_symbols_as_coingecko_has_them_go_all_the_way(world_of, sqlite_database):
    """Partition keys, metadata and names of checks hold them."""
    with Simulator(MarketModel(("figure-heloc", "bridged-usdc")), plan="pro") as simulator:
        world = world_of(
            sqlite_database, COINGECKO_BASE_URL=simulator.base_url,
            MARKET_SYMBOLS="FIGR_HELOC=figure-heloc,USDC.E=bridged-usdc",
        )
        yesterday = world.days_ago(1)
        result = world.complete(yesterday, yesterday)
        assert result.success and world.tick().success
    checks = world.checks(result)
    assert {"history_is_complete_FIGR_HELOC", "history_is_complete_USDC_E"} <= set(checks)
    assert checks["prices_are_of_one_coin"].passed
    assert world.materialized("price_anomalies") >= {f"{yesterday}|FIGR_HELOC", f"{yesterday}|USDC.E"}
    overview = world.latest_metadata("market_overview")
    assert overview["price_USDC.E"] > 0
    assert overview["coins"].records[0].data == {
        "symbol": "FIGR_HELOC", "name": "Figure Heloc", "coin_id": "simulated:figure-heloc",
    }
