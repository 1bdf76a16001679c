"""Every asset check, failing: what it says, how loudly, and what it stops."""

from contextlib import ExitStack
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from sqlalchemy import text

from market_pipeline.core.clock import utc_now
from market_pipeline.pipeline.replay import apply, load_refusals, revalidate
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.prices.quotes import Reason
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.schema import tables

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


def without_price_constraint(world):
    """The table as somebody would leave it who dropped its constraints to load a file."""
    with world.database.writing() as connection:
        connection.execute(text("DROP TABLE raw_prices"))
        connection.execute(
            text(
                "CREATE TABLE raw_prices (symbol TEXT, coin_id TEXT, timestamp INTEGER, price REAL, "
                "source TEXT, ingested_at INTEGER, PRIMARY KEY (symbol, coin_id, timestamp))"
            )
        )


def test_a_stored_future_quote_stops_the_anomalies(world):
    without_price_constraint(world)
    world.insert(symbol="ETH", timestamp=utc_now() + timedelta(minutes=10), price=3000.0)
    world.insert(symbol="ETH", timestamp=utc_now() + timedelta(days=3), price=3000.0)
    result = world.tick()
    check = world.checks(result)["no_future_timestamps"]
    assert (check.passed, check.severity) == (False, ERROR)
    assert check.metadata["stored"].value == 2
    assert check.metadata["symbols"].value == "ETH"
    assert len(check.metadata["sample"].records) == 2
    assert "materialize the partitions again" in check.description
    assert not result.success
    assert world.materialized("price_anomalies") == set()
    assert len(world.prices()) == len(world.symbols) + 2, "the good quotes of the run are stored all the same"


@pytest.mark.parametrize("price", [-1.0, 0.0, float("inf")])
def test_a_stored_price_that_cannot_be_stops_the_anomalies(world, price):
    without_price_constraint(world)
    world.insert(symbol="SOL", timestamp=utc_now() - timedelta(seconds=90), price=price)
    result = world.tick()
    check = world.checks(result)["no_negative_prices"]
    assert (check.passed, check.severity) == (False, ERROR)
    assert (check.metadata["stored"].value, check.metadata["symbols"].value) == (1, "SOL")
    assert not result.success
    assert world.materialized("price_anomalies") == set()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("future_timestamp", "no_future_timestamps"),
        ("negative_price", "no_negative_prices"),
        ("zero_price", "no_rejected_quotes"),
    ],
)
def test_a_refused_quote_warns_and_the_others_flow_on(world, kind, name):
    world.simulator.add_fault(Fault(kind=kind, coin="solana", path="/simple/price"))
    result = world.tick()
    assert result.success
    checks = world.checks(result)
    assert (checks[name].passed, checks[name].severity) == (False, WARN)
    assert checks[name].metadata["refused"].value == 1
    assert checks[name].metadata["symbols"].value == "SOL"
    others = {"no_future_timestamps", "no_negative_prices", "no_rejected_quotes"} - {name}
    assert all(checks[other].passed for other in others)
    assert {row["symbol"] for row in world.rows(tables.rejected_prices)} == {"SOL"}
    assert len(world.materialized("price_anomalies")) == len(world.symbols)


@pytest.fixture
def skewed(world_of, sqlite_database, market):
    """`skewed(hours)`: a world whose source's clock is so much ahead of ours."""
    with ExitStack() as running:

        def build(hours):
            simulator = Simulator(market, plan="pro", clock=lambda: utc_now() + timedelta(hours=hours))
            url = running.enter_context(simulator).base_url
            return world_of(sqlite_database, COINGECKO_BASE_URL=url, MARKET_SYMBOLS="BTC,ETH")

        yield build


def test_a_slow_clock_is_named_and_what_was_refused_for_it_is_accepted_once_it_is_right(skewed):
    """What was stored while the clock was right is not to be deleted."""
    world = skewed(3)
    world.insert(symbol="BTC", timestamp=utc_now() + timedelta(hours=2), price=90_000.0)
    checks = world.checks(world.tick())
    for name in ("no_future_timestamps", "no_rejected_quotes", "every_symbol_quoted"):
        said = checks[name].description
        assert "This machine's clock is 3 h behind the source's. Let this machine set its clock" in said
        assert "delete" not in said and "MARKET_SYMBOLS" not in said and "`market-pipeline replay` accepts" in said
    refused = load_refusals(world.database)
    assert [one.reason for one in refused] == [Reason.CLOCK_BEHIND] * 2
    assert revalidate(refused, utc_now()).accepted == []
    assert apply(world.database, revalidate(refused, utc_now() + timedelta(hours=3))) == 2


def test_a_fast_clock_is_named_in_place_of_a_stale_coin(skewed):
    world = skewed(-3)
    said = world.checks(world.tick())["quotes_are_fresh"].description
    assert "This machine's clock is 3 h ahead of the source's." in said and "CoinGecko serves" not in said


@pytest.mark.slow
def test_refusals_of_an_earlier_run_do_not_warn_again(world):
    world.simulator.add_fault(Fault(kind="negative_price", coin="solana", path="/simple/price"))
    world.tick()
    result = world.tick()
    assert all(check.passed for check in world.checks(result).values())


def test_a_symbol_without_quotes_is_an_error_that_does_not_block(world):
    """The coin did not exist on that day, or its id is not CoinGecko's."""
    world.simulator.add_fault(Fault(kind="empty_object", path="/simple/price"))
    result = world.tick()
    check = world.checks(result)["every_symbol_quoted"]
    assert (check.passed, check.severity) == (False, ERROR)
    assert check.metadata["symbols_failing"].value == len(world.symbols)
    assert result.success


def test_each_symbol_is_told_with_its_own_problem(world):
    world.simulator.add_fault(Fault(kind="negative_price", coin="bitcoin", path="/simple/price"))
    world.simulator.add_fault(Fault(kind="missing_coin", coin="ethereum", path="/simple/price"))
    told = world.checks(world.tick())["every_symbol_quoted"].description
    assert told.startswith("BTC: its answer was refused: The price -1.0 is negative. ETH: its answer was refused: Coin")


def test_stale_quotes_warn_with_their_age(world):
    world.simulator.add_fault(
        Fault(kind="stale_timestamp", seconds=7200, coin="cardano", path="/simple/price")
    )
    check = world.checks(world.tick())["quotes_are_fresh"]
    assert (check.passed, check.severity) == (False, WARN)
    assert check.metadata["symbols"].value == "ADA"
    assert 7200 <= check.metadata["age_seconds_ADA"].value <= 7400
    assert check.metadata["age_seconds_BTC"].value < 300


def test_the_sample_is_bounded_and_the_count_is_exact(world):
    without_price_constraint(world)
    noon = utc_now()
    for second in range(25):
        world.insert(symbol="BTC", timestamp=noon + timedelta(hours=1, seconds=second), price=1.0)
    check = world.checks(world.tick())["no_future_timestamps"]
    assert check.metadata["stored"].value == 25
    assert len(check.metadata["sample"].records) == 10


def test_one_check_can_be_executed_alone_and_looks_at_today(world):
    """What a person does at night: look again, without collecting anything."""
    world.tick()
    requests = len(world.simulator.requests)
    check = dg.AssetCheckKey(dg.AssetKey("raw_prices"), "quotes_are_fresh")
    job = (
        world.defs.get_repository_def()
        .get_implicit_global_asset_job_def()
        .get_subset(asset_check_selection={check}, asset_selection=set())
    )
    result = job.execute_in_process(instance=world.instance)
    assert {name: check.passed for name, check in world.checks(result).items()} == {"quotes_are_fresh": True}
    assert len(world.simulator.requests) == requests


def test_a_bad_row_in_the_days_that_the_anomalies_read_fails_the_check_too(world):
    """It would otherwise crash the anomalies of every coin, night after night, without a hint."""
    without_price_constraint(world)
    world.insert(symbol="BTC", timestamp=utc_now() - timedelta(days=2), price=-1.0)
    result = world.tick()
    check = world.checks(result)["no_negative_prices"]
    assert (check.passed, check.severity) == (False, ERROR)
    assert check.metadata["symbols"].value == "BTC"
    assert not result.success


def test_a_run_about_past_days_says_nothing_of_freshness(world):
    yesterday = world.days_ago(1)
    check = world.checks(world.complete(yesterday, yesterday, ["BTC"]))["quotes_are_fresh"]
    assert check.passed
    assert "past days only" in check.description


@pytest.mark.parametrize(
    ("cron", "now", "oldest"),
    [
        ("*/5 * * * *", "2026-05-04T12:03:00", "2026-05-04T11:52:00"),
        ("0 * * * *", "2026-05-04T12:03:00", "2026-05-04T10:57:00"),
        ("*/5 9-17 * * 1-5", "2026-05-04T09:02:00", "2026-05-01T17:52:00"),
        ("0 6 * * *", "2026-05-04T05:59:00", "2026-05-02T05:57:00"),
    ],
)
def test_what_is_fresh_follows_from_when_prices_are_collected(cron, now, oldest):
    """The last tick but one, less three minutes: over a weekend without ticks nothing grows stale."""
    moment = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    assert oldest_fresh(cron, moment) == datetime.fromisoformat(oldest).replace(tzinfo=timezone.utc)
