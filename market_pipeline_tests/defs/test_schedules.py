"""What the schedules request, when they skip, and which runs the daemon lets begin first."""

from datetime import date, datetime, timezone
from typing import Any

import dagster as dg
import pytest
from dagster._daemon.run_coordinator.queued_run_coordinator_daemon import QueuedRunCoordinatorDaemon
from pydantic import SecretStr

from market_pipeline.build import build_defs
from market_pipeline.dagster_instance.lanes import LANE, LIVE_TAGS, lane_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.runs_in_flight import executing_here
from market_pipeline.defs.automation.schedules import completion_request, tick_request
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.storage.engine import Database
from market_pipeline_tests.dagster_records import served_job
from market_pipeline_tests.defs.world import World, WorldOf

SYMBOLS = ("BTC", "ETH", "DOT")
SCHEDULED = datetime(2026, 5, 2, 0, 45, tzinfo=timezone.utc)


@pytest.fixture
def year(world_of: WorldOf, sqlite_database: Database) -> World:
    """A world of two coins with the days of all tests here."""
    return world_of(sqlite_database, history_start=date(2026, 1, 1), market_symbols="BTC,ETH")


def test_a_tick_covers_the_day_it_was_scheduled_in() -> None:
    tags = tick_request(datetime(2026, 5, 2, tzinfo=timezone.utc), SYMBOLS).tags
    assert tags == {RANGE_START: "2026-05-02|BTC", RANGE_END: "2026-05-02|DOT", **LIVE_TAGS}


@pytest.mark.parametrize("days", [("2026-01-01", "2026-01-31"), ("2026-05-01", "2026-05-01")])
@pytest.mark.parametrize("status", [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE])
def test_the_completion_covers_the_day_before_whatever_was_run_by_hand(
    year: World, status: dg.DagsterRunStatus, days: tuple[str, str]
) -> None:
    """A backfill of January asks for no more, and one of yesterday for no less."""
    tags = range_tags(date.fromisoformat(days[0]), date.fromisoformat(days[1]), year.symbols)
    job = year.defs.resolve_job_def("complete_days")
    year.instance.create_run_for_job(job, status=status, tags=tags)
    (request,) = year.evaluate_schedule("completion_schedule", SCHEDULED).run_requests
    assert (request.tags[RANGE_START], request.tags[RANGE_END]) == ("2026-05-01|BTC", "2026-05-01|ETH")
    assert request.run_key == completion_request(SCHEDULED, SYMBOLS).run_key == "2026-05-01"


@pytest.mark.parametrize(
    ("schedule", "job"), [("tick_schedule", "tick"), ("completion_schedule", "complete_days")]
)
def test_a_schedule_skips_with_the_reason_while_a_run_of_its_job_is_under_way(
    year: World, schedule: str, job: str
) -> None:
    assert len(year.evaluate_schedule(schedule, SCHEDULED).run_requests) == 1
    run = year.begin(job)
    tick = year.evaluate_schedule(schedule, SCHEDULED)
    assert not tick.run_requests
    assert tick.skip_message.startswith(f"Run {run.run_id[:8]} of {job} has not ended (status: started)")


@pytest.mark.parametrize(
    ("status", "queued_for", "blocks"),
    [
        (dg.DagsterRunStatus.QUEUED, "2026-05-02", True),
        (dg.DagsterRunStatus.QUEUED, "2026-05-01", False),
        (dg.DagsterRunStatus.STARTED, "2026-05-01", True),
    ],
)
def test_a_queued_tick_blocks_the_next_only_if_it_is_for_the_same_day(
    year: World, status: dg.DagsterRunStatus, queued_for: str, blocks: bool
) -> None:
    """Queued through midnight it would bring yesterday's prices."""
    day = date.fromisoformat(queued_for)
    tags = range_tags(day, day, year.symbols)
    year.instance.create_run_for_job(
        year.defs.resolve_job_def("tick"), status=status, tags=tags, **served_job("tick")
    )
    assert bool(year.evaluate_schedule("tick_schedule", SCHEDULED).skip_message) == blocks


def test_runs_of_another_code_location_on_the_instance_block_nothing(year: World) -> None:
    """Whether the daemon or a command created them; those without an owner may be ours."""
    other = year.settings.model_copy(update={"database_url": SecretStr("sqlite:////elsewhere/prices.db")})
    for location, tags, blocks in (
        ("mine", {"dagster/code_location": "theirs"}, False),
        (None, owner_of(other).tags, False),
        ("mine", {"dagster/code_location": "mine", **owner_of(year.settings).tags}, True),
        (None, {}, True),
    ):
        year.defs = build_defs(year.settings, location=location)
        run = year.begin("tick", tags)
        assert bool(year.evaluate_schedule("tick_schedule", SCHEDULED).skip_message) == blocks, tags
        year.instance.delete_run(run.run_id)


def test_every_job_carries_its_owner(year: World) -> None:
    for name in ("tick", "complete_days", "score_days", "calibrate_detectors", "account_requests"):
        assert owner_of(year.settings).tags.items() <= year.defs.resolve_job_def(name).run_tags.items()


class Queue:
    """The daemon's queue of an instance."""

    def __init__(self, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.job = dg.GraphDefinition(name="job").to_job()

    def begun(self, *runs: Any) -> list[dict[str, str]]:
        """Queue runs with these tags as the daemon and the UI do; return the tags of those that may begin now."""
        for tags in runs:
            run = self.instance.create_run_for_job(self.job, tags=tags, **served_job("job"))
            no_workspace: Any = None
            self.instance.run_coordinator.submit_run(dg.SubmitRunContext(run, no_workspace))
        with QueuedRunCoordinatorDaemon(interval_seconds=1) as daemon:
            limits = self.instance.get_concurrency_config()
            # How the daemon chooses has no public name.
            return [dict(run.tags) for run in daemon._get_runs_to_dequeue(self.instance, limits, None)]


FROM_THE_UI = {"dagster/backfill": "abcdefgh"}
BY_HAND = range_tags(date(2026, 1, 1), date(2026, 3, 1), ["BTC", "ETH"])


def test_a_tick_begins_at_once_behind_any_queue_of_history(home_instance: dg.DagsterInstance) -> None:
    queue = Queue(home_instance)
    tick = tick_request(SCHEDULED, ("BTC", "ETH")).tags
    with executing_here(home_instance) as tags:
        for _ in range(2):
            # What commands execute in their own process waits in no queue.
            home_instance.create_run_for_job(queue.job, status=dg.DagsterRunStatus.STARTED, tags=tags)
        begun = queue.begun(*[FROM_THE_UI] * 4, BY_HAND, {}, tick)
    assert [tags[LANE] for tags in begun] == ["live"]


def test_history_has_two_places(home_instance: dg.DagsterInstance) -> None:
    begun = Queue(home_instance).begun(*[FROM_THE_UI] * 3, BY_HAND)
    assert [tags[LANE] for tags in begun] == ["background", "background"]
    assert lane_of(LIVE_TAGS) == "live"
    assert lane_of({**LIVE_TAGS, "dagster/parent_run_id": "1234"}) == "background", "a tick that is executed again"


def test_the_run_coordinator_is_where_existing_homes_name_it(home_instance: dg.DagsterInstance) -> None:
    from market_pipeline.defs.lanes import LanedRunCoordinator

    assert type(home_instance.run_coordinator) is LanedRunCoordinator
