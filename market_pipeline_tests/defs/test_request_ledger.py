"""What requests cost, as the UI shows it."""

from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from sqlalchemy import insert

from market_pipeline.budget.ledger import LedgerRow
from market_pipeline.core.clock import utc_now
from market_pipeline.defs.assets.request_ledger import hour_numbers, hour_sentence
from market_pipeline.storage.schema.operations_tables import request_ledger

HOUR = timedelta(hours=1)
TEN = datetime(2026, 5, 1, 10, tzinfo=timezone.utc)


def row(hour, endpoint="/simple/price", outcome="200", requests=1, credits=1, plan="demo"):
    return LedgerRow(hour, f"{plan}@host", endpoint, outcome, plan, requests, credits)


def store(world, *rows):
    with world.database.writing() as connection:
        for one in rows:
            connection.execute(insert(request_ledger).values(**vars(one)))


def look(world):
    """The metadata after a run of the job, as the schedule starts it."""
    job = world.defs.resolve_job_def("account_requests")
    assert job.execute_in_process(instance=world.instance).success
    return world.latest_metadata("request_ledger")


def test_the_numbers_are_those_of_the_last_full_hour():
    rows = [
        row(TEN - HOUR, requests=99),
        row(TEN, requests=12, credits=12),
        row(TEN, "/coins/{id}/market_chart/range", "200", 5, 5),
        row(TEN, "/coins/{id}/market_chart/range", "429", 2, 2),
        row(TEN, "/coins/list", "no answer", 1, 0, plan="keyless"),
        row(TEN + HOUR, requests=77),
    ]
    assert hour_numbers(rows, TEN) == {
        "requests_last_hour": 20, "credits_last_hour": 19,
        "requests_simple_price": 12, "requests_market_chart_range": 7, "requests_coins_list": 1,
        "credits_simple_price": 12, "credits_market_chart_range": 7,
        "requests_outcome_200": 17, "requests_outcome_429": 2, "requests_outcome_no_answer": 1,
        "credits_outcome_200": 17, "credits_outcome_429": 2,
        "requests_plan_demo": 19, "credits_plan_demo": 19,
        "requests_plan_keyless": 1,
    }
    assert hour_sentence(rows, TEN) == "20 requests from 10:00 to 11:00 UTC, 3 of them without a good answer, 77 since."


def test_what_ended_is_plotted_as_zero():
    """A key that is missing would leave its line hanging at the last value."""
    numbers = hour_numbers([row(TEN - 3 * HOUR, "/key", "503")], TEN)
    assert numbers["requests_key"] == numbers["requests_outcome_503"] == numbers["requests_plan_demo"] == 0
    assert numbers["requests_simple_price"] == numbers["requests_last_hour"] == numbers["requests_outcome_200"] == 0


def test_the_asset_shows_numbers_a_hour_sentence_and_a_table(world_of, database):
    world = world_of(database)
    this_hour = utc_now().replace(minute=0, second=0, microsecond=0)
    store(
        world, row(this_hour - HOUR, requests=12), row(this_hour - 2 * HOUR, outcome="429", requests=3),
        row(this_hour - 30 * HOUR, requests=1000),
    )
    metadata = look(world)
    # At the turn of the hour the last full one is another.
    if utc_now().replace(minute=0, second=0, microsecond=0) == this_hour:
        assert metadata["requests_last_hour"] == metadata["requests_simple_price"] == 12
        assert metadata["requests_outcome_200"] == 12
        assert metadata["requests_outcome_429"] == 0
        assert metadata["summary"].startswith("12 requests from ")
    table = [record.data for record in metadata["last_24_hours"].records]
    assert [entry["outcome"] for entry in table] == ["200", "429"], "newest first, nothing of the day before"
    assert metadata["requests_left_this_minute"] == 10_000
    assert metadata["credits_left"] == 10_000_000
    assert 0 < metadata["credits_reserved"] < 10_000


def test_a_request_of_a_tick_is_in_it_and_looking_asks_nothing(world):
    world.tick()
    sent = len(world.simulator.requests)
    metadata = look(world)
    assert len(world.simulator.requests) == sent >= 1
    asked = [record.data["endpoint"] for record in metadata["last_24_hours"].records]
    assert asked.count("/simple/price") == 1


def test_an_empty_ledger_says_so(world):
    metadata = look(world)
    assert metadata["summary"].startswith("0 requests from ")
    assert metadata["last_24_hours"] == "none"
    assert metadata["requests_last_hour"] == 0


def test_it_can_be_materialized_by_hand_and_no_tick_pays_for_it(world):
    by_hand = world.defs.resolve_implicit_global_asset_job_def()
    key = dg.AssetKey("request_ledger")
    assert by_hand.execute_in_process(instance=world.instance, asset_selection=[key]).success
    assert world.latest_metadata("request_ledger")["requests_last_hour"] == 0
    tick = world.defs.resolve_job_def("tick")
    assert key not in tick.asset_layer.executable_asset_keys


def test_the_schedule_looks_once_an_hour_when_the_hour_is_over(world):
    schedule = world.defs.resolve_schedule_def("ledger_schedule")
    assert (schedule.cron_schedule, schedule.execution_timezone) == ("2 * * * *", "UTC")
    assert schedule.default_status == dg.DefaultScheduleStatus.RUNNING
    assert schedule.job_name == "account_requests"


@pytest.mark.parametrize("key", ["dagster/table_name", "dagster/column_schema", "write_mode"])
def test_the_table_behind_it_is_described(world, key):
    asset = world.defs.resolve_assets_def("request_ledger")
    spec = asset.specs_by_key[dg.AssetKey("request_ledger")]
    assert spec.metadata[key] and spec.description and spec.owners and "python" in spec.kinds
    assert [column.name for column in spec.metadata["dagster/column_schema"].columns] == list(
        request_ledger.columns.keys()
    )
