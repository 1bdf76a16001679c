"""The check of coin ids in real runs: how loud it is, and how rarely it sends a request."""

from datetime import timedelta

import pytest
from sqlalchemy import update

from market_pipeline.core.clock import utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import coin_identities
from market_pipeline_tests.defs.world import ERROR, WARN, World, WorldOf

NAME = "coin_ids_are_listed"


def lists(world: World) -> int:
    return sum(sent.path == "/coins/list" for sent in world.simulator.requests)


def test_the_nightly_run_requests_the_list_once_a_day_and_a_tick_never(pair: World) -> None:
    assert NAME not in pair.checks(pair.tick()) and lists(pair) == 0
    yesterday = pair.days_ago(1)
    assert pair.checks(pair.complete(yesterday, yesterday, ["BTC"]))[NAME].passed
    assert {row["symbol"] for row in pair.rows(coin_identities)} == {"BTC", "ETH"}
    assert pair.execute_check("price_coverage", NAME).passed
    assert lists(pair) == 1
    with pair.database.writing() as connection:
        connection.execute(update(coin_identities).values(checked_at=utc_now() - timedelta(hours=25)))
    assert pair.execute_check("price_coverage", NAME).passed
    assert lists(pair) == 2


def test_a_renamed_id_is_an_error_that_names_the_new_one_and_does_not_block(world: World) -> None:
    world.simulator.add_fault(Fault(kind="renamed_coin", coin="solana", keyed_as="solana-network"))
    yesterday = world.days_ago(1)
    result = world.complete(yesterday, yesterday, ["BTC"])
    check = world.checks(result)[NAME]
    assert result.success and (check.passed, check.severity) == (False, ERROR)
    assert check.metadata["symbols"].value == "SOL"
    assert "MARKET_SYMBOLS=BTC,ETH,SOL=solana-network,ADA,DOT" in str(check.description)


def test_a_vanished_id_without_a_clear_successor_is_an_error(world_of: WorldOf, sqlite_database: Database) -> None:
    check = world_of(sqlite_database, market_symbols="BTC,XYZ=qqqqqq").execute_check("price_coverage", NAME)
    assert (check.passed, check.severity) == (False, ERROR)
    assert "correct its entry in MARKET_SYMBOLS" in str(check.description)


def test_a_changed_ticker_warns(world: World) -> None:
    world.simulator.add_fault(Fault(kind="new_ticker", coin="solana", keyed_as="slx"))
    check = world.execute_check("price_coverage", NAME)
    assert (check.passed, check.severity, check.metadata["symbols"].value) == (False, WARN, "SOL")


@pytest.mark.parametrize("kind", ["status", "html", "cut_middle"])
def test_a_list_that_is_not_available_only_warns(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.retries._backoff", lambda state: 0.0)
    world.simulator.add_fault(Fault(kind=kind, path="/coins/list", times=None))
    check = world.execute_check("price_coverage", NAME)
    assert (check.passed, check.severity) == (False, WARN)
    assert world.rows(coin_identities) == []
