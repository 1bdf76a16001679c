"""What the schedules ask for, and when they do not."""

from datetime import date, datetime, timezone

import dagster as dg
import pytest
from pydantic import SecretStr

from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.defs.automation.schedules import completion_request, skip_reason, tick_request
from market_pipeline.defs.partitions import range_tags
from market_pipeline_tests.dagster_records import served_job

SYMBOLS = ("BTC", "ETH", "DOT")
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def test_a_tick_covers_the_day_it_was_scheduled_in():
    request = tick_request(datetime(2026, 5, 2, 0, 0, tzinfo=timezone.utc), SYMBOLS)
    assert request.tags[START] == "2026-05-02|BTC"
    assert request.tags[END] == "2026-05-02|DOT"


def test_the_completion_covers_the_day_before():
    request = completion_request(datetime(2026, 5, 1, 0, 45, tzinfo=timezone.utc), SYMBOLS)
    assert request.tags[START] == "2026-04-30|BTC"
    assert request.run_key == "2026-04-30"


def test_a_job_whose_previous_run_is_still_going_is_skipped_with_the_reason(world):
    """Asked of the real schedules, with a real unfinished run in the instance."""
    scheduled = datetime(2026, 5, 2, 0, 45, tzinfo=timezone.utc)
    for schedule, job in (("tick_schedule", "tick"), ("completion_schedule", "complete_days")):
        definition = world.defs.resolve_schedule_def(schedule)
        with dg.build_schedule_context(world.instance, scheduled_execution_time=scheduled) as context:
            assert len(definition.evaluate_tick(context).run_requests) == 1
            unfinished = dg.DagsterRunStatus.STARTED
            run = world.instance.create_run_for_job(world.defs.resolve_job_def(job), status=unfinished)
            tick = definition.evaluate_tick(context)
        assert not tick.run_requests
        assert run.run_id[:8] in tick.skip_message
        assert "still started" in tick.skip_message
        world.instance.delete_run(run.run_id)


def test_nothing_keeps_a_job_without_unfinished_runs():
    assert skip_reason("tick", []) is None


@pytest.mark.parametrize(
    ("status", "queued_for", "kept"),
    [
        (dg.DagsterRunStatus.QUEUED, "2026-05-02", True),
        (dg.DagsterRunStatus.QUEUED, "2026-05-01", False),
        (dg.DagsterRunStatus.STARTED, "2026-05-01", True),
    ],
)
def test_a_queued_tick_keeps_the_next_only_if_it_is_for_the_same_day(world, status, queued_for, kept):
    """Queued through midnight it would bring yesterday's prices."""
    day = date.fromisoformat(queued_for)
    tags = range_tags(day, day, world.symbols)
    job = world.defs.resolve_job_def("tick")
    world.instance.create_run_for_job(job, status=status, tags=tags, **served_job("tick"))
    scheduled = datetime(2026, 5, 2, 0, 5, tzinfo=timezone.utc)
    with dg.build_schedule_context(world.instance, scheduled_execution_time=scheduled) as context:
        tick = world.defs.resolve_schedule_def("tick_schedule").evaluate_tick(context)
    assert bool(tick.skip_message) == kept


def test_runs_of_another_code_location_on_the_instance_keep_nobody(world):
    """Whether the daemon or a command created them; those that say nothing may be ours."""
    other = world.settings.model_copy(update={"database_url": SecretStr("sqlite:////elsewhere/prices.db")})
    from market_pipeline.build import build_defs

    for location, tags, kept in (
        ("mine", {"dagster/code_location": "theirs"}, False),
        (None, owner_of(other).tags, False),
        ("mine", {"dagster/code_location": "mine", **owner_of(world.settings).tags}, True),
        (None, {}, True),
    ):
        defs = build_defs(world.settings, location=location)
        started = dg.DagsterRunStatus.STARTED
        run = world.instance.create_run_for_job(defs.resolve_job_def("tick"), status=started, tags=tags)
        with dg.build_schedule_context(
            world.instance, scheduled_execution_time=datetime(2026, 5, 2, tzinfo=timezone.utc)
        ) as context:
            tick = defs.resolve_schedule_def("tick_schedule").evaluate_tick(context)
        assert bool(tick.skip_message) == kept, tags
        world.instance.delete_run(run.run_id)


def test_every_job_says_what_it_works_on(world):
    for name in ("tick", "complete_days", "score_days", "calibrate_detectors", "account_requests"):
        job = world.defs.resolve_job_def(name)
        assert owner_of(world.settings).tags.items() <= job.run_tags.items()


def test_the_range_tags_of_a_schedule_are_partitions_that_exist(world):
    request = tick_request(datetime.combine(world.today, datetime.min.time(), timezone.utc), world.symbols)
    partitions = world.defs.resolve_assets_def("raw_prices").partitions_def
    assert partitions.has_partition_key(request.tags[START])
    assert partitions.has_partition_key(request.tags[END])
    assert date.fromisoformat(request.tags[START].split("|")[0]) == world.today
