"""Which runs the daemon lets begin while history is queued: asked of the daemon that does it."""

from datetime import date, datetime, timezone

import dagster as dg
import pytest
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon

from market_pipeline.dagster_instance.lanes import LANE, LIVE_TAGS, lane_of
from market_pipeline.dagster_instance.runs_in_flight import executing_here
from market_pipeline.defs.automation.schedules import tick_request
from market_pipeline.defs.partitions import range_tags
from market_pipeline_tests.dagster_records import served_job

# The daemon's own module; how it chooses has no public name.


FROM_THE_UI = {"dagster/backfill": "abcdefgh"}
BY_HAND = range_tags(date(2026, 1, 1), date(2026, 3, 1), ["BTC", "ETH"])


@pytest.fixture
def queue(instance):
    """Queue runs with tags as the daemon and the UI do; the tags of those that may begin now."""
    job = dg.GraphDefinition(name="job").to_job()

    def queued(*runs):
        for tags in runs:
            run = instance.create_run_for_job(job, tags=tags, **served_job("job"))
            instance.run_coordinator.submit_run(dg.SubmitRunContext(run, workspace=None))
        with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
            # Called before every look at the queue.
            return [run.tags for run in daemon._get_runs_to_dequeue(instance, instance.get_concurrency_config(), None)]

    return queued


def test_a_tick_begins_at_once_behind_any_queue_of_history(queue, instance):
    tick = tick_request(datetime(2026, 5, 2, tzinfo=timezone.utc), ("BTC", "ETH")).tags
    job = dg.GraphDefinition(name="complete_days").to_job()
    with executing_here(instance) as tags:
        for _ in range(3):
            # What commands execute in their own process waits in no queue.
            instance.create_run_for_job(job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        begun = queue(*[FROM_THE_UI] * 20, *[BY_HAND] * 5, {}, tick)
    assert [tags["dagster/run_key"] if "dagster/run_key" in tags else tags[LANE] for tags in begun] == ["live"]


def test_history_has_two_places(queue):
    begun = queue(*[FROM_THE_UI] * 3, BY_HAND)
    assert [tags[LANE] for tags in begun] == ["background", "background"]


def test_a_tick_that_is_executed_again_is_not_live():
    assert lane_of(LIVE_TAGS) == "live"
    assert lane_of({**LIVE_TAGS, "dagster/parent_run_id": "1234"}) == "background"
