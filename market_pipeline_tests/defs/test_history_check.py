"""The check of every symbol's past days: what it measures, when it fails, and that it can be asked alone."""

from datetime import date, timedelta

import dagster as dg
import pytest

from market_pipeline.core.clock import iso, start_of_day, utc_now
from market_pipeline.core.symbols import Coin, parse_catalogue
from market_pipeline.defs.checks.history import (
    build_history_checks, history_check_names, history_results, one_coin_result,
)
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.queries.source_gaps import record_absences
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import coin_id

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
CATALOGUE = parse_catalogue("BTC,ETH")
# Noon, so that yesterday is settled.
NOW = start_of_day(utc_now().date() - 3 * DAY) + 12 * HOUR
MIDNIGHT = start_of_day(NOW.date())


def store(database, symbol, *hours):
    """Prices of `symbol` so many hours before the midnight before `NOW`."""
    rows = [
        {"symbol": symbol, "coin_id": coin_id(symbol), "timestamp": MIDNIGHT - hour * HOUR, "price": 1.0,
         "source": "market_chart", "ingested_at": NOW}
        for hour in hours
    ]
    upsert(database, tables.raw_prices, columns_of(tables.raw_prices, rows))


def judge(database, now=NOW, history_start=date(2020, 1, 1)):
    names = history_check_names(CATALOGUE.symbols)
    results = {one.check_name: one for one in history_results(database, CATALOGUE, history_start, names, now)}
    assert list(results) == ["history_is_complete_BTC", "history_is_complete_ETH"]
    return list(results.values())


def test_days_with_every_hour_are_complete(database):
    store(database, "BTC", *range(1, 73))
    store(database, "ETH", *range(1, 25))
    bitcoin, ether = judge(database)
    assert bitcoin.passed and ether.passed
    values = {name: value.value for name, value in bitcoin.metadata.items()}
    assert values["points"] == values["expected_points"] == 72
    assert (values["days"], values["days_incomplete"], values["largest_gap_hours"]) == (3, 0, 1.0)
    assert ether.metadata["days"].value == 1, "measured from the first stored price"


def test_days_before_history_start_are_not_asked_for(database):
    """Prices of an earlier HISTORY_START may be stored; a backfill of days without partitions is refused."""
    store(database, "BTC", *range(1, 25), 71)
    first = (NOW - 2 * DAY).date()
    check = judge(database, history_start=first)[0]
    assert check.metadata["days"].value == 2 and f"market-pipeline backfill --from {first} " in check.description
    assert judge(database, history_start=(NOW - DAY).date())[0].passed
    assert "begin today" in judge(database, history_start=NOW.date())[0].description


def test_a_gap_fails_with_the_day_and_what_to_do(database):
    store(database, "BTC", *range(1, 25), *range(30, 73))
    store(database, "ETH", 1)
    check = judge(database)[0]
    day = (NOW - 2 * DAY).date()
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"market-pipeline backfill --from {day} --to {day} --symbols BTC" in check.description
    assert "repair sensor" in check.description
    (row,) = check.metadata["incomplete_days"].records
    assert row.data == {"day": day.isoformat(), "points": 19, "expected": 24, "largest_gap_hours": 6.0}


@pytest.mark.parametrize("proven", [True, False])
def test_only_a_proven_gap_of_the_source_passes_and_each_is_shown_with_its_evidence(database, proven):
    store(database, "BTC", *range(1, 25), *range(30, 73))
    store(database, "ETH", 1)
    gap = Interval(MIDNIGHT - 30 * HOUR, MIDNIGHT - 24 * HOUR)
    absence = Absence("BTC", "bitcoin", gap, "Asked at noon.", NOW, proven)
    record_absences(database, [(Coin("BTC", "bitcoin"), gap)], [absence], [])
    check = judge(database)[0]
    assert check.passed is proven
    (row,) = check.metadata["known_source_gaps"].records
    assert (row.data["hours"], row.data["evidence"], row.data["proven"]) == (6.0, "Asked at noon.", proven)
    assert row.data["ask_again"] == iso(NOW + 3 * HOUR)
    # Without it the command would wait for that time.
    assert ("--symbols BTC --again." in check.description) is not proven


def test_a_symbol_without_any_price_fails(database):
    store(database, "BTC", *range(1, 25))
    ether = judge(database)[1]
    assert (ether.passed, ether.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert "MARKET_SYMBOLS" in ether.description


def test_prices_that_begin_today_have_no_past_day_yet(database):
    store(database, "BTC", -1)
    store(database, "ETH", -1)
    check = judge(database)[0]
    assert check.passed and "begin today" in check.description
    assert check.metadata["days"].value == 0


def test_nothing_older_than_ninety_days_is_measured(sqlite_database):
    store(sqlite_database, "BTC", 24 * 400, *range(1, 24 * 90 + 1))
    store(sqlite_database, "ETH", 24 * 400)
    bitcoin, ether = judge(sqlite_database)
    assert bitcoin.passed
    assert bitcoin.metadata["days"].value == 90
    assert (ether.metadata["days_incomplete"].value, len(ether.metadata["incomplete_days"].records)) == (90, 20)


@pytest.mark.parametrize(
    ("symbols", "names"),
    [
        (["BTC"], ["history_is_complete_BTC"]),
        (["A.B", "A-B", "AB"], ["history_is_complete_A_B", "history_is_complete_A_B_2", "history_is_complete_AB"]),
        (["A.B", "A.B.2", "A-B"], ["history_is_complete_A_B", "history_is_complete_A_B_2",
                                   "history_is_complete_A_B_3"]),
    ],
)
def test_every_symbol_has_a_check_of_a_name_that_dagster_accepts(symbols, names):
    assert history_check_names(symbols) == dict(zip(names, symbols))
    catalogue = parse_catalogue(",".join(f"{symbol}=coin-{n}" for n, symbol in enumerate(symbols)))
    specs = build_history_checks(catalogue, date(2024, 1, 1)).check_specs
    assert sorted(spec.name for spec in specs) == sorted([*names, "prices_are_of_one_coin"])
    assert all(spec.description and not spec.blocking for spec in specs)


def test_prices_of_a_former_coin_are_told_until_their_days_have_those_of_the_present_one(database):
    hours = range(1, 25)
    rows = [
        {"symbol": "BTC", "coin_id": "bitcoin-cash", "timestamp": MIDNIGHT - hour * HOUR, "price": 1.0,
         "source": "market_chart", "ingested_at": NOW}
        for hour in hours
    ]
    upsert(database, tables.raw_prices, columns_of(tables.raw_prices, rows))
    day = MIDNIGHT.date() - DAY
    check = one_coin_result(database, CATALOGUE, day, NOW)
    assert (check.passed, check.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert f"BTC also holds 24 prices of bitcoin-cash ({day}), which are not used; fetch the prices of bitcoin: " \
        f"market-pipeline backfill --from {day} --to {day} --symbols BTC; or" in check.description
    assert check.metadata["days_without_the_present_coin"].value == 1
    store(database, "BTC", *hours)
    check = one_coin_result(database, CATALOGUE, day, NOW)
    assert check.passed and check.description.endswith("which are not used.")
    assert check.metadata["prices_of_other_coins"].value == 24


@pytest.mark.slow
def test_it_runs_with_the_completion_of_days_and_not_with_a_tick(world):
    yesterday = world.days_ago(1)
    names = set(history_check_names(world.symbols))
    assert not names & set(world.checks(world.tick()))
    checks = world.checks(world.complete(yesterday, yesterday))
    assert {name: checks[name].passed for name in names} == dict.fromkeys(names, True)


@pytest.mark.slow
def test_the_check_of_one_symbol_can_be_executed_alone(world):
    """What a person does who wonders about one coin: a run without partitions and without requests."""
    world.tick()
    requests = len(world.simulator.requests)
    check = dg.AssetCheckKey(dg.AssetKey("price_coverage"), "history_is_complete_ETH")
    job = (
        world.defs.get_repository_def()
        .get_implicit_global_asset_job_def()
        .get_subset(asset_check_selection={check}, asset_selection=set())
    )
    result = job.execute_in_process(instance=world.instance)
    assert list(world.checks(result)) == ["history_is_complete_ETH"]
    assert len(world.simulator.requests) == requests
