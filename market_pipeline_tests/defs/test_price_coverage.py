"""How complete the history is, as the UI shows it, and that its checks stay evaluated between ticks."""

import asyncio
from datetime import date, timedelta

import dagster as dg
import pytest

from market_pipeline.core.clock import iso, start_of_day, utc_now
from market_pipeline.core.symbols import Coin
from market_pipeline.defs.assets.price_coverage import coverage_metadata
from market_pipeline.defs.checks.history import history_check_names
from market_pipeline.pipeline.missing_days import PastDays, past_days
from market_pipeline.prices.absences import Absence
from market_pipeline.prices.gaps import Interval
from market_pipeline.storage.queries.coverage import DayCoverage
from market_pipeline.storage.queries.source_gaps import record_absences

pytestmark = pytest.mark.slow

COVERAGE = dg.AssetKey("price_coverage")
HOUR = timedelta(hours=1)
SIMULATED = "simulated:bitcoin"
DAY = timedelta(days=1)


def look(world):
    """The metadata after the asset alone, as a person materializes it from the UI."""
    by_hand = world.defs.resolve_implicit_global_asset_job_def()
    result = by_hand.execute_in_process(instance=world.instance, asset_selection=[COVERAGE])
    assert result.success
    return world.latest_metadata("price_coverage")


def newest_evaluation(world, name):
    """The newest record of a check, and whether the UI takes it to be about the asset as it is now."""
    from dagster._core.loader import LoadingContextForTest

    key = dg.AssetCheckKey(COVERAGE, name)
    record = world.instance.event_log_storage.get_latest_asset_check_execution_by_key([key])[key]
    is_current = record.targets_latest_materialization(LoadingContextForTest(world.instance))
    return record.evaluation, asyncio.run(is_current)


def fill(world, symbol, day, hours=range(24)):
    for hour in hours:
        world.insert(symbol=symbol, timestamp=start_of_day(day) + hour * HOUR, price=1.0)


def test_the_asset_shows_numbers_by_symbol_totals_a_table_and_a_sentence(world_of, database):
    world = world_of(database, MARKET_SYMBOLS="BTC,ETH,DOT")
    # Yesterday, without prices, counts or not: it may still be in the hour in which it is published.
    for symbol in ("BTC", "ETH"):
        fill(world, symbol, world.days_ago(3))
    fill(world, "ETH", world.days_ago(2), [*range(8), *range(14, 24)])
    fill(world, "BTC", world.days_ago(2), [*range(8), *range(14, 24)])
    start = start_of_day(world.days_ago(2)) + 7 * HOUR
    gap = Interval(start, start + 7 * HOUR)
    absence = Absence("BTC", SIMULATED, gap, "Asked.", utc_now(), proven=True)
    record_absences(database, [(Coin("BTC", SIMULATED), gap)], [absence], [])
    metadata = look(world)
    assert metadata["points_BTC"] == metadata["points_ETH"] == 42
    assert metadata["missing_days_ETH"] == metadata["missing_days_BTC"] + 1
    assert (metadata["complete_days_BTC"], metadata["complete_days_ETH"]) == (2, 1)
    assert (metadata["source_gaps_BTC"], metadata["source_gaps_ETH"]) == (1, 0)
    assert metadata["largest_gap_hours_BTC"] >= 7.0
    assert (metadata["complete_days"], metadata["points"], metadata["source_gaps"]) == (3, 84, 1)
    assert metadata["unproven_gaps"] == 0
    assert metadata["complete_days_DOT"] == metadata["points_DOT"] == 0
    assert "No prices at all: DOT." in metadata["summary"]
    rows = {record.data["symbol"]: record.data for record in metadata["symbols"].records}
    assert list(rows) == ["BTC", "ETH", "DOT"]
    assert rows["ETH"]["first_day"] == world.days_ago(3).isoformat()
    assert rows["ETH"]["missing_days"] == metadata["missing_days_ETH"]
    assert rows["BTC"]["asked_again"] > iso(utc_now()) and rows["ETH"]["asked_again"] == "-"
    assert rows["DOT"]["first_day"] == rows["DOT"]["largest_gap_hours"] == "-"


def past(symbol, days, missing=(), stored=True):
    first = date(2026, 5, 1)
    measured = tuple(DayCoverage(symbol, first + n * DAY, 24, 24, HOUR) for n in range(days))
    return PastDays(symbol, stored, measured, tuple(missing), tuple(missing), ())


@pytest.mark.parametrize(
    ("history", "sentence"),
    [
        ([past("BTC", 2), past("ETH", 3)],
         "5 of 5 past days of 2 symbols are complete, as far as the source has them."),
        ([past("BTC", 2, [date(2026, 5, 1)]), past("ETH", 3)],
         "4 of 5 past days of 2 symbols are complete, as far as the source has them. "
         "Days that lack prices: BTC 1."),
        ([past("BTC", 0), past("ETH", 0, stored=False)],
         "No past day has prices yet. No prices at all: ETH."),
        ([past(f"C{n}", 0, stored=False) for n in range(7)],
         "No past day has prices yet. No prices at all: C0, C1, C2, C3, C4 and 2 more."),
    ],
)
def test_the_sentence_says_how_much_is_missing_and_of_what(history, sentence):
    assert coverage_metadata(history)["summary"] == sentence


def test_a_symbol_without_past_days_has_no_largest_gap_to_plot():
    metadata = coverage_metadata([past("BTC", 2), past("ETH", 0)])
    assert metadata["largest_gap_hours_BTC"] == 1.0
    assert "largest_gap_hours_ETH" not in metadata
    assert metadata["complete_days_ETH"] == metadata["missing_days_ETH"] == 0


def test_it_is_measured_after_the_prices_came_and_asks_nothing_itself(world):
    day = world.days_ago(2)
    world.complete(day, day)
    metadata = world.latest_metadata("price_coverage")
    assert metadata["complete_days_BTC"] == 1, "the run's own prices are counted"
    requests = len(world.simulator.requests)
    look(world)
    assert len(world.simulator.requests) == requests


def test_the_checks_of_a_run_see_what_its_coverage_says(world):
    day = world.days_ago(2)
    checks = world.checks(world.complete(day, day))
    metadata = world.latest_metadata("price_coverage")
    for name, symbol in history_check_names(world.symbols).items():
        assert checks[name].metadata["points"].value == metadata[f"points_{symbol}"]
        assert checks[name].metadata["days_incomplete"].value == metadata[f"missing_days_{symbol}"]


def test_the_checks_stay_evaluated_when_a_tick_follows(world):
    """By Dagster's own rule, by which the UI shows a check as not evaluated."""
    yesterday = world.days_ago(1)
    assert world.complete(yesterday, yesterday).success
    assert world.tick().success
    materialized = world.instance.get_latest_materialization_event(COVERAGE)
    names = {"coin_ids_are_listed", *history_check_names(world.symbols)}
    for name in names:
        evaluation, is_current = newest_evaluation(world, name)
        target = evaluation.target_materialization_data
        assert (target.run_id, target.timestamp) == (materialized.run_id, materialized.timestamp), name
        assert is_current, name


def test_measuring_the_asset_without_its_checks_leaves_them_to_be_asked_again(world):
    """The rule of the test above can tell: a newer materialization is unjudged."""
    yesterday = world.days_ago(1)
    world.complete(yesterday, yesterday)
    by_hand = world.defs.resolve_implicit_global_asset_job_def()
    only = by_hand.get_subset(asset_selection={COVERAGE}, asset_check_selection=set())
    assert only.execute_in_process(instance=world.instance).success
    assert not newest_evaluation(world, "history_is_complete_BTC")[1]


def test_past_days_begin_with_the_first_price_of_each_symbol(world):
    fill(world, "BTC", world.days_ago(5))
    fill(world, "ETH", world.days_ago(3))
    now = start_of_day(world.today) + 12 * HOUR
    settings = world.settings
    measured = past_days(world.database, settings.catalogue, settings.history_start, now)
    found = {one.symbol: one for one in measured}
    assert [covered.day for covered in found["ETH"].measured] == [world.days_ago(n) for n in (3, 2, 1)]
    assert found["BTC"].missing == tuple(world.days_ago(n) for n in (4, 3, 2, 1))
    assert (found["SOL"].stored, found["SOL"].measured) == (False, ())
