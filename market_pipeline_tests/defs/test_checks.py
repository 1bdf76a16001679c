"""The checks of `raw_prices`: what fails, how loudly, and what it stops."""

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import datetime, timedelta, timezone
from typing import Any, Protocol

import dagster as dg
import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.defs.checks.raw_prices import CheckedRun, check_run
from market_pipeline.pipeline.names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.pipeline.replay import apply, load_refusals, revalidate
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.prices.quotes import Reason
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import coin_id, price_row, refusal_row, store
from market_pipeline_tests.defs.world import ERROR, WARN, World, WorldOf, without_constraints

NOW = datetime(2026, 5, 4, 12, 3, tzinfo=timezone.utc)
TODAY = NOW.date()
SYMBOLS = ("BTC", "ETH", "SOL")


def insert(database: Database, symbol: str, ago: timedelta, price: float = 1.0) -> None:
    row = price_row(symbol, price=price, timestamp=NOW - ago, ingested_at=NOW)
    with database.writing() as connection:
        connection.execute(tables.raw_prices.insert().values(**row))


def refuse(database: Database, number: int, symbol: str, reason: Reason, **changes: str) -> None:
    row = refusal_row(number, symbol, day=TODAY, reason=reason.value, run_id="run", **changes)
    store(database, tables.rejected_prices, {**row, "detail": f"The point is {reason.value}."})


def checked(
    database: Database, *days: DayOfSymbol, run_id: str = "run", clock: str = ""
) -> dict[str, dg.AssetCheckResult]:
    """The results of all checks about a run over `days`, by default today's."""
    run = CheckedRun(
        database, run_id, days or [(TODAY, symbol) for symbol in SYMBOLS], SYMBOLS, NOW,
        oldest_fresh("*/5 * * * *", NOW), lambda: clock,
    )
    every = (FUTURE, NEGATIVE, REJECTED, QUOTED, FRESH)
    results = {str(result.check_name): result for result in check_run(run, every)}
    assert tuple(results) == every
    return results


@pytest.fixture
def quoted(sqlite_database: Database) -> Database:
    """A database without constraints, with a quote of each symbol one minute old."""
    without_constraints(sqlite_database)
    for symbol in SYMBOLS:
        insert(sqlite_database, symbol, timedelta(minutes=1))
    return sqlite_database


def test_all_pass_where_every_symbol_has_a_fresh_quote(quoted: Database) -> None:
    results = checked(quoted)
    assert all(result.passed for result in results.values())
    assert results[FRESH].metadata["age_seconds_BTC"].value == 60.0


def test_a_stored_future_quote_is_an_error_with_the_exact_count_and_a_bounded_sample(quoted: Database) -> None:
    for number in range(25):
        insert(quoted, "ETH", timedelta(hours=-1, seconds=number))
    insert(quoted, "ETH", timedelta(days=-3))
    check = checked(quoted)[FUTURE]
    assert (check.passed, check.severity) == (False, ERROR)
    assert (check.metadata["stored"].value, check.metadata["symbols"].value) == (26, "ETH")
    sample: Any = check.metadata["sample"]
    assert len(sample.records) == 10


@pytest.mark.parametrize(
    ("days", "symbol", "price"), [(0, "SOL", -1.0), (0, "SOL", 0.0), (0, "SOL", float("inf")), (2, "BTC", -1.0)]
)
def test_a_stored_price_that_cannot_be_is_an_error(quoted: Database, days: int, symbol: str, price: float) -> None:
    """Also one in the days that the anomalies are about to read, where it would crash those of every coin."""
    insert(quoted, symbol, timedelta(days=days, seconds=90), price)
    check = checked(quoted)[NEGATIVE]
    assert (check.passed, check.severity) == (False, ERROR)
    assert (check.metadata["stored"].value, check.metadata["symbols"].value) == (1, symbol)


@pytest.mark.parametrize(
    ("reason", "name"),
    [
        (Reason.FUTURE_TIMESTAMP, FUTURE),
        (Reason.NEGATIVE_PRICE, NEGATIVE),
        *((reason, REJECTED) for reason in Reason if reason not in (Reason.FUTURE_TIMESTAMP, Reason.NEGATIVE_PRICE)),
    ],
)
def test_a_refusal_of_this_run_warns_in_the_check_of_its_reason(quoted: Database, reason: Reason, name: str) -> None:
    refuse(quoted, 1, "SOL", reason, source="market_chart")
    results = checked(quoted)
    assert {check: result.passed for check, result in results.items() if not result.passed} == {name: False}
    assert results[name].severity == WARN
    assert (results[name].metadata["refused"].value, results[name].metadata["symbols"].value) == (1, "SOL")
    assert all(result.passed for result in checked(quoted, run_id="the next").values())


def test_each_symbol_is_named_with_its_own_problem(quoted: Database) -> None:
    refuse(quoted, 1, "BTC", Reason.NEGATIVE_PRICE)
    assert str(checked(quoted)[QUOTED].description).endswith("rejected_prices has what was refused."), "the id is right"
    refuse(quoted, 2, "ETH", Reason.MISSING_PRICE)
    check = checked(quoted)[QUOTED]
    assert (check.passed, check.severity) == (False, ERROR)
    assert (check.metadata["symbols_failing"].value, check.metadata["symbols"].value) == (2, "BTC, ETH")


def test_a_day_without_a_quote_and_a_stale_symbol_fail(sqlite_database: Database) -> None:
    insert(sqlite_database, "BTC", timedelta(minutes=1))
    insert(sqlite_database, "ETH", timedelta(hours=2))
    yesterday = TODAY - timedelta(days=1)
    results = checked(sqlite_database, *((day, symbol) for day in (yesterday, TODAY) for symbol in SYMBOLS))
    assert results[QUOTED].metadata["symbols"].value == "BTC, ETH, SOL"
    fresh = results[FRESH]
    assert (fresh.passed, fresh.severity, fresh.metadata["symbols"].value) == (False, WARN, "ETH, SOL")
    assert fresh.metadata["age_seconds_ETH"].value == 7200.0
    assert checked(sqlite_database, (yesterday, "BTC"))[FRESH].passed, "the run is about past days only"


def test_a_wrong_clock_is_named_in_place_of_the_usual_remedy(quoted: Database) -> None:
    insert(quoted, "ETH", timedelta(hours=-1))
    refuse(quoted, 1, "BTC", Reason.CLOCK_BEHIND)
    results = checked(quoted, clock="Set the clock.")
    for name in (FUTURE, REJECTED, QUOTED):
        assert str(results[name].description).endswith(" Set the clock."), name


@pytest.mark.parametrize(
    ("cron", "now", "oldest"),
    [
        ("*/5 * * * *", "2026-05-04T12:03", "2026-05-04T11:52"),
        ("0 * * * *", "2026-05-04T12:03", "2026-05-04T10:57"),
        ("*/5 9-17 * * 1-5", "2026-05-04T09:02", "2026-05-01T17:52"),
        ("0 6 * * *", "2026-05-04T05:59", "2026-05-02T05:57"),
    ],
)
def test_a_quote_is_fresh_from_the_last_tick_but_one_on(cron: str, now: str, oldest: str) -> None:
    """Less three minutes: over a weekend without ticks nothing grows stale."""
    assert oldest_fresh(cron, datetime.fromisoformat(f"{now}+00:00")) == datetime.fromisoformat(f"{oldest}+00:00")


def test_stored_impossible_rows_stop_the_anomalies_and_keep_the_good_quotes(world: World) -> None:
    without_constraints(world.database)
    world.insert(symbol="ETH", timestamp=utc_now() + timedelta(minutes=10), price=3000.0)
    result = world.tick()
    assert not result.success and not world.checks(result)[FUTURE].passed
    assert world.materialized("price_anomalies") == set()
    assert len(world.prices()) == len(world.symbols) + 1


def test_refused_quotes_warn_and_the_others_flow_on(world: World) -> None:
    kinds = {"SOL": "future_timestamp", "BTC": "negative_price", "ETH": "zero_price"}
    for symbol, kind in kinds.items():
        world.simulator.add_fault(Fault(kind=kind, coin=coin_id(symbol), path="/simple/price"))
    result = world.tick()
    assert result.success, "nor does a symbol without a quote block, though it is an error"
    checks = world.checks(result)
    for name, symbol in ((FUTURE, "SOL"), (NEGATIVE, "BTC"), (REJECTED, "ETH")):
        assert (checks[name].passed, checks[name].severity, checks[name].metadata["symbols"].value) == (
            False, WARN, symbol,
        )
    assert checks[QUOTED].metadata["symbols_failing"].value == 3
    assert {row["symbol"] for row in world.rows(tables.rejected_prices)} == set(kinds)
    assert len(world.materialized("price_anomalies")) == len(world.symbols)
    requests = len(world.simulator.requests)
    assert not world.execute_check("raw_prices", QUOTED).passed, "executed alone it checks today, without a request"
    assert len(world.simulator.requests) == requests


class Skewed(Protocol):
    def __call__(self, hours: float) -> World: ...


@pytest.fixture
def skewed(world_of: WorldOf, sqlite_database: Database, market: MarketModel) -> Iterator[Skewed]:
    """`skewed(hours)`: a world whose source's clock is that much ahead of ours."""
    with ExitStack() as running:

        def build(hours: float) -> World:
            simulator = Simulator(market, plan="pro", clock=lambda: utc_now() + timedelta(hours=hours))
            url = running.enter_context(simulator).base_url
            return world_of(sqlite_database, coingecko_base_url=url, market_symbols="BTC,ETH")

        yield build


def test_what_a_slow_clock_refused_is_accepted_once_it_is_right(skewed: Skewed) -> None:
    world = skewed(3)
    checks = world.checks(world.tick())
    assert "clock is 3 h behind the source's" in str(checks[REJECTED].description)
    refused = load_refusals(world.database)
    assert [one.reason for one in refused] == [Reason.CLOCK_BEHIND] * 2
    assert revalidate(refused, utc_now()).accepted == []
    assert apply(world.database, revalidate(refused, utc_now() + timedelta(hours=3))) == 2


def test_a_fast_clock_is_named_in_place_of_a_stale_coin(skewed: Skewed) -> None:
    world = skewed(-3)
    assert "clock is 3 h ahead of the source's" in str(world.checks(world.tick())[FRESH].description)
