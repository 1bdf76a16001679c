"""What the schedules ask for, and when they do not."""

from datetime import date, datetime, timezone

import dagster as dg

from market_pipeline.defs.schedules import completion_request, skip_reason, tick_request

SYMBOLS = ("BTC", "ETH", "DOT")
START, END = "dagster/asset_partition_range_start", "dagster/asset_partition_range_end"


def test_a_tick_covers_the_day_it_was_scheduled_in():
    request = tick_request(datetime(2026, 5, 2, 0, 0, tzinfo=timezone.utc), SYMBOLS)
    assert request.tags[START] == "2026-05-02|BTC"
    assert request.tags[END] == "2026-05-02|DOT"


def test_the_completion_covers_the_day_before():
    request = completion_request(datetime(2026, 5, 1, 0, 45, tzinfo=timezone.utc), SYMBOLS, None)
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


def test_the_range_tags_of_a_schedule_are_partitions_that_exist(world):
    request = tick_request(datetime.combine(world.today, datetime.min.time(), timezone.utc), world.symbols)
    partitions = world.defs.resolve_assets_def("raw_prices").partitions_def
    assert partitions.has_partition_key(request.tags[START])
    assert partitions.has_partition_key(request.tags[END])
    assert date.fromisoformat(request.tags[START].split("|")[0]) == world.today


def test_missed_nights_are_made_up_for(world):
    """A laptop that slept three nights asks for all three days, at the cost of one."""
    job = world.defs.resolve_job_def("complete_days")
    night = datetime(2026, 5, 10, 0, 45, tzinfo=timezone.utc)
    for status, expected in (
        (dg.DagsterRunStatus.SUCCESS, "2026-05-07"),
        (dg.DagsterRunStatus.FAILURE, "2026-05-06"),
    ):
        tags = {START: "2026-05-06|BTC", END: "2026-05-06|DOT"}
        run = world.instance.create_run_for_job(job, status=status, tags=tags)
        request = completion_request(night, SYMBOLS, run)
        assert (request.tags[START], request.tags[END]) == (f"{expected}|BTC", "2026-05-09|DOT")


def test_what_was_missed_long_ago_is_left_to_a_backfill(world):
    job = world.defs.resolve_job_def("complete_days")
    tags = {START: "2026-04-01|BTC", END: "2026-04-01|DOT"}
    run = world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
    request = completion_request(datetime(2026, 5, 10, 0, 45, tzinfo=timezone.utc), SYMBOLS, run)
    assert request.tags[START] == "2026-05-03|BTC"


def test_a_night_that_was_done_already_is_done_again_and_no_more(world):
    job = world.defs.resolve_job_def("complete_days")
    tags = {START: "2026-05-09|BTC", END: "2026-05-09|DOT"}
    run = world.instance.create_run_for_job(job, status=dg.DagsterRunStatus.SUCCESS, tags=tags)
    request = completion_request(datetime(2026, 5, 10, 0, 45, tzinfo=timezone.utc), SYMBOLS, run)
    assert (request.tags[START], request.tags[END]) == ("2026-05-09|BTC", "2026-05-09|DOT")
