"""The coverage of past days: the asset's numbers, the check of each symbol, and that checks stay evaluated."""

import asyncio
from datetime import date, datetime, timedelta
from typing import Any

import dagster as dg
import pytest
from dagster._core.loader import LoadingContextForTest

from market_pipeline.core.clock import DAY, iso, start_of_day, utc_now
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.defs.assets.price_coverage import coverage_metadata
from market_pipeline.defs.checks.history import (
    build_history_checks,
    history_check_names,
    history_results,
    one_coin_result,
)
from market_pipeline.pipeline.missing_days import PastDays
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval, last_settled_day
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.coverage import DayCoverage
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import price_row, store
from market_pipeline_tests.defs.world import WARN, World, WorldOf

HOUR = timedelta(hours=1)
CATALOGUE = parse_catalogue("BTC,ETH")
COVERAGE = dg.AssetKey("price_coverage")
# Noon, so that yesterday is settled.
NOW = start_of_day(utc_now().date() - 3 * DAY) + 12 * HOUR
MIDNIGHT = start_of_day(NOW.date())


def fill(database: Database, symbol: str, *hours: int, **changes: Any) -> None:
    """Store prices of `symbol` this many hours before the midnight before `NOW`."""
    rows = [price_row(symbol, timestamp=MIDNIGHT - hour * HOUR, **changes) for hour in hours]
    store(database, tables.raw_prices, *rows)


def judge(database: Database, history_start: date = date(2020, 1, 1)) -> list[dg.AssetCheckResult]:
    names = history_check_names(CATALOGUE.symbols)
    results = list(history_results(database, CATALOGUE, history_start, names, NOW))
    assert [result.check_name for result in results] == ["history_is_complete_BTC", "history_is_complete_ETH"]
    return results


def values(result: dg.AssetCheckResult) -> dict[str, Any]:
    return {name: value.value for name, value in result.metadata.items() if hasattr(value, "value")}


def table(result: dg.AssetCheckResult, name: str) -> list[dict[str, Any]]:
    found: Any = result.metadata[name]
    return [record.data for record in found.records]


def test_days_with_every_hour_are_complete_measured_from_the_first_price(database: Database) -> None:
    fill(database, "BTC", *range(1, 73))
    fill(database, "ETH", *range(1, 25))
    bitcoin, ether = judge(database)
    assert bitcoin.passed and ether.passed
    found = values(bitcoin)
    assert found["points"] == found["expected_points"] == 72
    assert (found["days"], found["days_incomplete"], found["largest_gap_hours"]) == (3, 0, 1.0)
    assert values(ether)["days"] == 1


def test_a_gap_fails_with_its_day_and_the_command_that_fills_it(sqlite_database: Database) -> None:
    fill(sqlite_database, "BTC", *range(1, 25), *range(30, 73))
    check, without = judge(sqlite_database)
    day = (NOW - 2 * DAY).date()
    assert (check.passed, check.severity) == (False, WARN)
    assert f"market-pipeline backfill --from {day} --to {day} --symbols BTC." in str(check.description)
    assert table(check, "incomplete_days") == [
        {"day": day.isoformat(), "points": 19, "expected": 24, "largest_gap_hours": 6.0}
    ]
    assert (without.passed, without.severity, values(without)) == (False, WARN, {"points": 0})


def test_days_before_history_start_are_not_measured(sqlite_database: Database) -> None:
    """Prices of an earlier HISTORY_START may be stored; a backfill of days without partitions is refused."""
    fill(sqlite_database, "BTC", *range(1, 25), 71)
    first = (NOW - 2 * DAY).date()
    check = judge(sqlite_database, first)[0]
    assert values(check)["days"] == 2 and f"--from {first} " in str(check.description)
    assert judge(sqlite_database, (NOW - DAY).date())[0].passed
    today = judge(sqlite_database, NOW.date())[0]
    assert today.passed and values(today)["days"] == 0


def test_nothing_older_than_ninety_days_is_measured_and_the_table_is_bounded(sqlite_database: Database) -> None:
    fill(sqlite_database, "BTC", 24 * 400, *range(1, 24 * 90 + 1))
    fill(sqlite_database, "ETH", 24 * 400)
    bitcoin, ether = judge(sqlite_database)
    assert bitcoin.passed and values(bitcoin)["days"] == 90
    assert (values(ether)["days_incomplete"], len(table(ether, "incomplete_days"))) == (90, 20)


@pytest.mark.parametrize("proven", [True, False])
def test_only_a_proven_gap_of_the_source_passes_and_each_is_shown_with_its_evidence(
    sqlite_database: Database, proven: bool
) -> None:
    fill(sqlite_database, "BTC", *range(1, 25), *range(30, 73))
    gap = Interval(MIDNIGHT - 30 * HOUR, MIDNIGHT - 24 * HOUR)
    absence = Absence("BTC", "bitcoin", gap, "Asked at noon.", NOW, proven)
    record_absences(sqlite_database, [(CATALOGUE.coin("BTC"), gap)], [absence], [])
    check = judge(sqlite_database)[0]
    assert check.passed is proven
    (row,) = table(check, "known_source_gaps")
    assert (row["hours"], row["evidence"], row["proven"]) == (6.0, "Asked at noon.", proven)
    assert row["ask_again"] == iso(NOW + 3 * HOUR)
    # Without --again the command would wait until then.
    assert ("--symbols BTC --again." in str(check.description)) is not proven


@pytest.mark.parametrize(
    ("symbols", "names"),
    [
        (["BTC"], ["history_is_complete_BTC"]),
        (["A.B", "A-B", "AB"], ["history_is_complete_A_B", "history_is_complete_A_B_2", "history_is_complete_AB"]),
        (
            ["A.B", "A.B.2", "A-B"],
            ["history_is_complete_A_B", "history_is_complete_A_B_2", "history_is_complete_A_B_3"],
        ),
    ],
)
def test_every_symbol_has_a_check_of_a_name_that_dagster_accepts(symbols: list[str], names: list[str]) -> None:
    assert history_check_names(symbols) == dict(zip(names, symbols, strict=True))
    catalogue = parse_catalogue(",".join(f"{symbol}=coin-{n}" for n, symbol in enumerate(symbols)))
    specs = build_history_checks(catalogue, date(2024, 1, 1)).check_specs
    assert sorted(spec.name for spec in specs) == sorted([*names, "prices_are_of_one_coin"])


def test_prices_of_a_former_coin_warn_until_their_days_have_those_of_the_present_one(
    sqlite_database: Database,
) -> None:
    fill(sqlite_database, "BTC", *range(1, 25), coin_id="bitcoin-cash")
    day = MIDNIGHT.date() - DAY
    check = one_coin_result(sqlite_database, CATALOGUE, day, NOW)
    assert (check.passed, check.severity) == (False, WARN)
    assert "24 prices of bitcoin-cash" in str(check.description)
    assert values(check) == {"prices_of_other_coins": 24, "days_without_the_present_coin": 1}
    fill(sqlite_database, "BTC", *range(1, 25))
    check = one_coin_result(sqlite_database, CATALOGUE, day, NOW)
    assert check.passed and values(check)["prices_of_other_coins"] == 24


def past(symbol: str, days: int, gaps: tuple[Absence, ...] = (), missing: tuple[date, ...] = ()) -> PastDays:
    first = date(2026, 5, 1)
    measured = tuple(DayCoverage(symbol, first + n * DAY, 24, 24, HOUR) for n in range(days))
    return PastDays(symbol, days > 0, measured, missing, missing, gaps)


def test_the_asset_shows_totals_numbers_by_symbol_and_a_table() -> None:
    gap = Interval(MIDNIGHT - 30 * HOUR, MIDNIGHT - 24 * HOUR)
    gaps = tuple(Absence("BTC", "bitcoin", gap, "Asked.", NOW, proven).scheduled() for proven in (True, False))
    metadata = coverage_metadata([past("BTC", 2, gaps), past("ETH", 3, missing=(date(2026, 5, 1),)), past("SOL", 0)])
    totals = ("complete_days", "missing_days", "points", "source_gaps", "unproven_gaps")
    assert [metadata[name] for name in totals] == [4, 1, 120, 2, 1]
    assert (metadata["complete_days_BTC"], metadata["missing_days_ETH"], metadata["points_SOL"]) == (2, 1, 0)
    assert metadata["largest_gap_hours_BTC"] == 1.0 and "largest_gap_hours_SOL" not in metadata
    rows = [record.data for record in metadata["symbols"].records]
    assert [(row["symbol"], row["first_day"], row["last_day"], row["largest_gap_hours"]) for row in rows] == [
        ("BTC", "2026-05-01", "2026-05-02", 1.0), ("ETH", "2026-05-01", "2026-05-03", 1.0), ("SOL", "-", "-", "-"),
    ]
    assert [row["asked_again"] for row in rows] == [iso(NOW + 3 * HOUR), "-", "-"]


def evaluation_time(world: World, name: str) -> tuple[datetime, bool]:
    """When the materialization was that the newest evaluation targets; whether the UI takes it as current."""
    key = dg.AssetCheckKey(COVERAGE, name)
    record = world.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    target: Any = record.evaluation.target_materialization_data if record.evaluation else None
    is_current = asyncio.run(record.targets_latest_materialization(LoadingContextForTest(world.instance)))
    return target.timestamp, is_current


def test_the_checks_of_a_completion_agree_with_its_coverage_and_stay_evaluated_when_a_tick_follows(
    pair: World,
) -> None:
    """By Dagster's own rule, by which the UI shows a check as not evaluated."""
    day = last_settled_day(utc_now())
    checks = pair.checks(pair.complete(day, day))
    metadata = pair.latest_metadata("price_coverage")
    names = history_check_names(pair.symbols)
    for name, symbol in names.items():
        assert checks[name].metadata["points"].value == metadata[f"points_{symbol}"] > 0
        assert checks[name].metadata["days_incomplete"].value == metadata[f"missing_days_{symbol}"]
    assert not names.keys() & pair.checks(pair.tick()).keys()
    materialized: Any = pair.instance.get_latest_materialization_event(COVERAGE)
    for name in ("coin_ids_are_listed", "prices_are_of_one_coin", *names):
        assert evaluation_time(pair, name) == (materialized.timestamp, True), name
    requests = len(pair.simulator.requests)
    assert pair.execute_check("price_coverage", "history_is_complete_ETH").passed
    pair.materialize("price_coverage")
    assert not evaluation_time(pair, "history_is_complete_BTC")[1], "a newer materialization is not checked yet"
    assert len(pair.simulator.requests) == requests


def test_symbols_as_coingecko_has_them_go_all_the_way(world_of: WorldOf, sqlite_database: Database) -> None:
    """Partition keys, metadata and names of checks hold them; both coins are listed by the simulator."""
    world = world_of(sqlite_database, market_symbols="FIGR_HELOC=bitcoin,USDC.E=ethereum")
    yesterday = world.days_ago(1)
    result = world.complete(yesterday, yesterday)
    assert result.success and world.tick().success
    assert {"history_is_complete_FIGR_HELOC", "history_is_complete_USDC_E"} <= world.checks(result).keys()
    assert world.materialized("price_anomalies") >= {f"{yesterday}|FIGR_HELOC", f"{yesterday}|USDC.E"}
    assert world.latest_metadata("market_overview")["USDC.E/price_usd"] > 0
    coins: Any = world.checks(result)["coin_ids_are_listed"].metadata["coins"]
    assert coins.records[0].data == {
        "symbol": "FIGR_HELOC", "name": "Bitcoin", "coin_id": "simulated:bitcoin",
    }
