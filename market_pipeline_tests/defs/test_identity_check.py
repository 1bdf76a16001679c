"""The check of coin ids, in real runs: what it names, how loudly, and how rarely it asks."""

from datetime import timedelta

import dagster as dg
import pytest
from sqlalchemy import update

from market_pipeline.core.clock import utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.schema.operations_tables import coin_identities

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN
NAME = "coin_ids_are_listed"


def alone(world):
    """The check executed by itself, as a person does from the UI."""
    check = dg.AssetCheckKey(dg.AssetKey("price_coverage"), NAME)
    job = (
        world.defs.get_repository_def()
        .get_implicit_global_asset_job_def()
        .get_subset(asset_check_selection={check}, asset_selection=set())
    )
    result = job.execute_in_process(instance=world.instance)
    assert list(world.checks(result)) == [NAME]
    return world.checks(result)[NAME]


def lists(world):
    return sum(sent.path == "/coins/list" for sent in world.simulator.requests)


def test_a_tick_asks_for_no_list(world):
    result = world.tick()
    assert result.success
    assert NAME not in world.checks(result)
    assert lists(world) == 0


def test_the_nightly_run_asks_once_a_day(world):
    yesterday = world.days_ago(1)
    assert world.checks(world.complete(yesterday, yesterday, ["BTC"]))[NAME].passed
    assert {row["symbol"] for row in world.rows(coin_identities)} == set(world.symbols)
    assert alone(world).passed
    assert lists(world) == 1
    with world.database.writing() as connection:
        connection.execute(update(coin_identities).values(checked_at=utc_now() - timedelta(hours=25)))
    assert alone(world).passed
    assert lists(world) == 2


def test_an_id_that_was_renamed_is_an_error_that_names_the_new_one(world):
    world.simulator.add_fault(Fault(kind="renamed_coin", coin="solana", keyed_as="solana-network"))
    yesterday = world.days_ago(1)
    result = world.complete(yesterday, yesterday, ["BTC"])
    check = world.checks(result)[NAME]
    assert (check.passed, check.severity) == (False, ERROR)
    assert result.success, "the check does not block"
    assert check.metadata["symbols"].value == "SOL"
    assert "it is probably solana-network (Solana) now" in check.description
    assert "MARKET_SYMBOLS=BTC,ETH,SOL=solana-network,ADA,DOT" in check.description
    assert "SOL" in str(check.metadata["sample"].records)


def test_an_id_without_a_likely_successor_is_left_to_the_person(world_of, sqlite_database):
    world = world_of(sqlite_database, MARKET_SYMBOLS="BTC,XYZ=qqqqqq")
    check = alone(world)
    assert (check.passed, check.severity) == (False, ERROR)
    assert "no other coin has clearly replaced it as XYZ" in check.description
    assert "mend its entry in MARKET_SYMBOLS" in check.description


def test_a_changed_ticker_warns(world):
    world.simulator.add_fault(Fault(kind="new_ticker", coin="solana", keyed_as="slx"))
    check = alone(world)
    assert (check.passed, check.severity) == (False, WARN)
    assert "CoinGecko now calls solana SLX (Solana); it was SOL before" in check.description


@pytest.fixture
def patient_server(monkeypatch):
    """One that may be asked again at once."""
    monkeypatch.setattr("market_pipeline.coingecko.retries._backoff", lambda number: 0.0)


@pytest.mark.parametrize("kind", ["status", "html", "cut_middle"])
def test_a_list_that_cannot_be_had_only_warns(world, patient_server, kind):
    world.simulator.add_fault(Fault(kind=kind, path="/coins/list", times=None))
    check = alone(world)
    assert (check.passed, check.severity) == (False, WARN)
    assert "list of coins cannot be had" in check.description
    assert world.rows(coin_identities) == []


def test_a_list_that_cannot_be_had_keeps_the_nightly_run_from_nothing(world):
    world.simulator.add_fault(Fault(kind="html", path="/coins/list", times=None))
    yesterday = world.days_ago(1)
    result = world.complete(yesterday, yesterday, ["BTC"])
    assert result.success
    assert not world.checks(result)[NAME].passed
