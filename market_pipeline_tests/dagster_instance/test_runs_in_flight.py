"""Which runs have not ended, and which only look so because their process was killed."""

import subprocess
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine

from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance import runs_in_flight as runs_in_flight_module
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.dagster_instance.instance_storage import FILES
from market_pipeline.dagster_instance.nonpublic import report_alive, silent_processes
from market_pipeline.dagster_instance.ownership import Owner
from market_pipeline.dagster_instance.runs_in_flight import (
    PROCESS,
    SILENT,
    SOON,
    cancel_launched_runs,
    end_canceled_runs,
    end_dead_runs,
    executing_here,
    forget_silent_processes,
    runs_in_flight,
)
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.dagster_records import served_job

Status = dg.DagsterRunStatus
OURS = Owner("ours")
MINUTE = timedelta(minutes=1)
# Holds a lock as `executing_here` does, without the seconds that importing Dagster takes, until it is killed.
COMMAND = """
import sys, time
from market_pipeline.core.file_lock import try_lock
with open(sys.argv[1], "w") as lock:
    print(try_lock(lock), flush=True)
    time.sleep(600)
"""


@pytest.fixture(scope="module")
def instance(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dg.DagsterInstance]:
    with open_instance(tmp_path_factory.mktemp("home")) as opened:
        yield opened


def add(instance: dg.DagsterInstance, job: str, status: Status, tags: Mapping[str, str] | None = None) -> str:
    return instance.add_run(dg.DagsterRun(job, status=status, tags=tags, **served_job(job))).run_id


def in_flight(instance: dg.DagsterInstance, job: str, queued_since: datetime | None = None) -> list[str]:
    return [run.run_id for run in runs_in_flight(instance, OURS, job, queued_since=queued_since)]


def status_of(instance: dg.DagsterInstance, run_id: str) -> Status:
    run = instance.get_run_by_id(run_id)
    assert run is not None
    return run.status


def test_a_run_is_in_flight_from_its_creation_to_its_end(instance: dg.DagsterInstance) -> None:
    runs = {status: add(instance, "any", status) for status in Status}
    unfinished = (Status.NOT_STARTED, Status.QUEUED, Status.STARTING, Status.STARTED, Status.CANCELING)
    assert set(in_flight(instance, "any")) == {runs[status] for status in unfinished}
    assert in_flight(instance, "another") == []


def test_a_run_of_another_installation_is_not_ours(instance: dg.DagsterInstance) -> None:
    add(instance, "shared", Status.STARTED, Owner("theirs").tags)
    assert in_flight(instance, "shared") == []


def test_what_was_never_queued_is_abandoned_and_a_long_queue_may_be_left_out(instance: dg.DagsterInstance) -> None:
    add(instance, "waiting", Status.NOT_STARTED)
    queued, started = add(instance, "waiting", Status.QUEUED), add(instance, "waiting", Status.STARTED)
    later = utc_now() + SOON + timedelta(minutes=1)
    with time_machine.travel(later):
        assert in_flight(instance, "waiting") == [started, queued]
        assert in_flight(instance, "waiting", queued_since=later - SOON) == [started]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_run_of_a_killed_process_is_dead_whichever_process_has_its_number(instance: dg.DagsterInstance) -> None:
    """Neither host name nor process id is used: in a container both may be those of another, living process."""
    locks = Path(instance.root_directory, "processes")
    locks.mkdir(exist_ok=True)
    created = add(instance, "killed", Status.NOT_STARTED, {PROCESS: "another"})
    killed = add(instance, "killed", Status.STARTED, {PROCESS: "another"})
    command = [sys.executable, "-c", COMMAND, str(locks / "another")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "True\n"
        end_dead_runs(instance, OURS, ["killed"])
        assert in_flight(instance, "killed") == [killed, created], "it lives"
        process.kill()
    with executing_here(instance) as tags:
        mine = add(instance, "killed", Status.STARTED, tags)
        assert in_flight(instance, "killed") == [mine]
        assert status_of(instance, killed) is Status.STARTED, "the query changes nothing"
        end_dead_runs(instance, OURS, ["killed"])
        assert {status_of(instance, run) for run in (killed, created)} == {Status.FAILURE}
        assert in_flight(instance, "killed") == [mine]
        assert len(list(locks.iterdir())) == 1, "the lock of the killed one is gone"
    assert list(locks.iterdir()) == []


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no such locks")
def test_a_run_that_an_error_left_unended_is_dead(instance: dg.DagsterInstance) -> None:
    """Such as a storage that was locked when the run was to be marked as failed."""
    owners = (OURS, Owner("theirs"))
    runs: list[str] = []

    def execute() -> None:
        with executing_here(instance) as tags:
            runs.extend(add(instance, "unended", Status.STARTED, {**tags, **owner.tags}) for owner in owners)
            raise OSError("locked")

    with pytest.raises(OSError, match="locked"):
        execute()
    assert in_flight(instance, "unended") == []
    end_dead_runs(instance, OURS, ["unended"])
    assert [status_of(instance, run) for run in runs] == [Status.FAILURE, Status.STARTED], "theirs is not ours to end"
    assert list(Path(instance.root_directory, "processes").iterdir()) == []


def test_a_process_that_cannot_be_seen_from_here_counts_as_alive(instance: dg.DagsterInstance) -> None:
    """It may execute its run on another machine, whose DAGSTER_HOME is another."""
    run = add(instance, "elsewhere", Status.STARTED, {PROCESS: "of-another-home"})
    end_dead_runs(instance, OURS, ["elsewhere"])
    assert in_flight(instance, "elsewhere") == [run]


def test_where_the_storage_is_in_a_database_silence_tells_of_a_killed_process(tmp_path: Path) -> None:
    """A container's folder is seen by no other one, and may be read-only. Any storage serves: it is the same call."""
    (tmp_path / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {tmp_path / 'elsewhere'}\n")
    with open_instance(tmp_path) as instance:
        process = executing_here(instance)
        run = add(instance, "reported", Status.STARTED, process.__enter__())
        end_dead_runs(instance, OURS, ["reported"])
        assert in_flight(instance, "reported") == [run], "it lives"
        process.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
        later = utc_now() + SILENT + timedelta(seconds=5)
        with time_machine.travel(later):
            assert in_flight(instance, "reported") == []
            assert forget_silent_processes(instance, later) == 0, "by its report the run is found"
            end_dead_runs(instance, OURS, ["reported"])
        assert status_of(instance, run) is Status.FAILURE
        with executing_here(instance):
            pass
        assert silent_processes(instance, later) == [], "no report is left of either"
        report_alive(instance, "without a run", utc_now())
        assert (forget_silent_processes(instance, utc_now() - MINUTE), silent_processes(instance, later)) == (
            0, ["without a run"],
        )
        assert (forget_silent_processes(instance, later), silent_processes(instance, later)) == (1, [])
    assert not (tmp_path / "processes").exists()


def test_a_process_reports_as_long_as_it_lives(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A storage that does not answer once is asked again."""
    (tmp_path / "dagster.yaml").write_text(f"storage:\n  sqlite:\n    base_dir: {tmp_path / 'elsewhere'}\n")
    monkeypatch.setattr(runs_in_flight_module, "_REPORT_SECONDS", 0.01)
    answers = iter([None, OSError("gone")])
    reported: list[str] = []

    def report(instance: dg.DagsterInstance, process: str, now: datetime) -> None:
        reported.append(process)
        if error := next(answers, None):
            raise error

    monkeypatch.setattr(runs_in_flight_module, "report_alive", report)
    with open_instance(tmp_path) as instance, executing_here(instance) as tags:
        wait_for(lambda: len(reported) > 3, 60, "a report after the failed one")
    assert set(reported) == {tags[PROCESS]}
    assert "could not report to Dagster's storage" in caplog.text


def test_a_stop_cancels_the_runs_of_the_daemon_and_no_others(instance: dg.DagsterInstance) -> None:
    ours, queued = add(instance, "stopped", Status.STARTED), add(instance, "stopped", Status.QUEUED)
    of_a_command = add(instance, "stopped", Status.STARTED, {PROCESS: "x"})
    cancel_launched_runs(Path(instance.root_directory), FILES)
    statuses = [status_of(instance, run_id) for run_id in (ours, queued, of_a_command)]
    assert statuses == [Status.CANCELING, Status.QUEUED, Status.STARTED]
    end_canceled_runs(Path(instance.root_directory), FILES)
    assert status_of(instance, ours) is Status.CANCELED
