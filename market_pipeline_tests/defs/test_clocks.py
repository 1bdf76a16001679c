"""What the scheduler requests after a pause, when daylight saving ends, and after a clock that was ahead."""

import logging
import time
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import dagster as dg
import dagster._daemon  # before its scheduler, which it imports in a circle
import pytest
import time_machine
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import ModuleTarget
from dagster._scheduler.scheduler import launch_scheduled_runs

from market_pipeline.dagster_instance.clock_jumps import forget_future_evaluations
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.defs.partitions import RANGE_END, RANGE_START
from market_pipeline.pipeline.names import TICK, automations

pytestmark = pytest.mark.slow

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
# At 06:00 UTC clocks in New York go back from 2 to 1 o'clock. Calls to the code server fail in the past.
BEFORE_CHANGE = datetime(2037, 11, 1, 5, 47, tzinfo=timezone.utc)


class Scheduler:
    """The daemon's scheduler, at times that a test chooses, over the code location in a process of its own."""

    def __init__(self, instance: dg.DagsterInstance, workspace: WorkspaceProcessContext) -> None:
        self.instance, self.workspace = instance, workspace
        self.memory: dict[str, Any] = {}

    def at(self, now: datetime) -> list[str]:
        """One iteration at `now`; the times of the ticks that began a run in it, which ends at once."""
        with time_machine.travel(now):
            for problem in launch_scheduled_runs(self.workspace, logging.getLogger(__name__), now, self.memory):
                assert not getattr(problem, "message", None), problem
            return [self.end(run) for run in self.in_flight()]

    def in_flight(self) -> list[dg.DagsterRun]:
        return list(self.instance.get_runs(dg.RunsFilter(job_name=TICK, statuses=[dg.DagsterRunStatus.QUEUED])))

    def end(self, run: dg.DagsterRun) -> str:
        self.instance.report_run_canceled(run)
        day = run.tags[RANGE_START][:10]
        assert run.tags[RANGE_END][:10] == day == run.tags[".dagster/scheduled_execution_time"][:10]
        return run.tags[".dagster/scheduled_execution_time"][:16]

    def restart(self) -> None:
        """The daemon forgets what it had in memory."""
        self.memory = {}


@pytest.fixture
def scheduler(
    home_instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Iterator[Scheduler]:
    """A host in New York."""
    monkeypatch.setenv("DATABASE_URL", f"sqlite:///{tmp_path}/prices.db")
    monkeypatch.setenv("TZ", "America/New_York")
    time.tzset()
    target = ModuleTarget("market_pipeline.definitions", None, str(tmp_path), "market_pipeline")
    with WorkspaceProcessContext(home_instance, target) as workspace:
        yield Scheduler(home_instance, workspace)
    monkeypatch.undo()
    time.tzset()


def test_ticks_follow_utc_and_are_neither_doubled_nor_lost_by_any_clock(scheduler: Scheduler) -> None:
    at, now = scheduler.at, BEFORE_CHANGE
    assert at(now) == [], "the first iteration only begins to count"
    ticks = [tick for minutes in (3, 4, 9, 13, 14, 18) for tick in at(now + minutes * MINUTE)]
    assert ticks == [f"2037-11-01T{clock}" for clock in ("05:50", "05:55", "06:00", "06:05")]
    # After a pause through midnight one tick, for the present day; each minute is evaluated once.
    now = datetime(2037, 11, 2, 3, 2, tzinfo=timezone.utc)
    assert (at(now), at(now), at(now - MINUTE)) == (["2037-11-02T03:00"], [], [])
    # The clock is a day ahead for a moment.
    assert at(now + 24 * HOUR) == ["2037-11-03T03:00"]
    scheduler.restart()
    assert at(now + 5 * MINUTE) == [], "Dagster waits for the time that it has seen"
    wanted = automations("*/5 * * * *")
    moved = forget_future_evaluations(scheduler.instance, Owner(""), wanted, now + 6 * MINUTE)
    assert "tick_schedule" in moved
    scheduler.restart()
    assert at(now + 9 * MINUTE) == ["2037-11-02T03:10"]
    assert forget_future_evaluations(scheduler.instance, Owner(""), wanted, now + 10 * MINUTE) == []
