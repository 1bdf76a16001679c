"""Runs on Celery workers: which of them count as dead, what a worker says of its run, and what the broker is given."""

import logging
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from celery import signals, states
from dagster._daemon.monitoring.run_monitoring import monitor_started_run
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import pack_value
from redis.exceptions import ConnectionError as Unreachable

from market_pipeline.dagster_instance import celery_runs
from market_pipeline.dagster_instance.celery_runs import WorkersRunLauncher, require_broker, worker_app
from market_pipeline.dagster_instance.home import HomeError, open_instance
from market_pipeline_tests.canaries import PASSWORD, PASSWORD_IN_URL, heard, words_of
from market_pipeline_tests.dagster_records import served_job

CONFIG = Path(__file__).parents[2] / "deploy" / "celery" / "dagster.yaml"
TASK = "dagster-celery/task_id"
# Nothing listens there.
BROKER = f"redis://:{PASSWORD_IN_URL}@127.0.0.1:9/0"


class Redis:
    """Keys that are there when they are looked for, one look after the other; the last answer stays."""

    def __init__(self, *there: bool) -> None:
        self.there = list(there)
        self.set_keys: list[str] = []
        self.beaten = threading.Event()
        self.failures = 0

    def exists(self, key: str) -> bool:
        return self.there.pop(0) if len(self.there) > 1 else self.there[0]

    def set(self, key: str, value: str, ex: int) -> None:
        if self.failures:
            self.failures -= 1
            raise Unreachable("no broker")
        self.set_keys.append(f"{key} {ex}")
        self.beaten.set()


@pytest.fixture
def instance(home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    """An instance with the launcher of deploy/celery, and SQLite storage."""
    monkeypatch.setenv("CELERY_BROKER_URL", BROKER)
    with_postgresql = CONFIG.read_text("utf-8")
    without = with_postgresql.replace(
        "storage:\n  postgres:\n    postgres_url: {env: DAGSTER_DATABASE_URL}\n", "", 1
    )
    assert without != with_postgresql
    (home / "dagster.yaml").write_text(without, "utf-8")
    with open_instance(home) as opened:
        yield opened


@pytest.fixture
def launcher(instance: dg.DagsterInstance) -> WorkersRunLauncher:
    """The launcher of the instance."""
    found = instance.run_launcher
    assert isinstance(found, WorkersRunLauncher)
    return found


def started(instance: dg.DagsterInstance, **tags: str) -> dg.DagsterRun:
    """A run that has started."""
    status = dg.DagsterRunStatus.STARTED
    return instance.add_run(dg.DagsterRun("job", status=status, tags=tags, **served_job("job")))


def celery(state: str, redis: Redis) -> Any:
    """What the launcher asks Celery."""
    result = SimpleNamespace(state=state, ready=lambda: state in states.READY_STATES, info={"hostname": "a@b"})
    return SimpleNamespace(AsyncResult=lambda task: result, backend=SimpleNamespace(client=redis))


@pytest.mark.parametrize(("state", "beats", "dead"), [
    ("STARTED", [True], ""),
    # Redis has been restarted without its data, and the next heartbeat is to come.
    ("PENDING", [False, True], ""),
    ("STARTED", [False], "worker a@b was killed or is cut off"),
    # The worker's parent process saw the end of the run's process.
    ("FAILURE", [True], "ended (FAILURE) without ending its run"),
    # The database was gone when the end was to be recorded.
    ("SUCCESS", [True], "ended (SUCCESS) without ending its run"),
])
def test_run_monitoring_fails_a_run_whose_process_is_gone_and_has_it_retried(
    instance: dg.DagsterInstance, launcher: WorkersRunLauncher, monkeypatch: pytest.MonkeyPatch, state: str,
    beats: list[bool], dead: str,
) -> None:
    monkeypatch.setattr(celery_runs, "_BEAT_SECONDS", -1.0)
    launcher.celery = celery(state, Redis(*beats))
    run_id = started(instance, **{TASK: "a-task"}).run_id
    record = instance.get_run_record_by_id(run_id)
    assert record is not None
    workspace: Any = None
    monitor_started_run(instance, workspace, record, logging.getLogger())
    run = instance.get_run_by_id(run_id)
    assert run is not None
    assert run.status is (dg.DagsterRunStatus.FAILURE if dead else dg.DagsterRunStatus.STARTED)
    assert run.tags.get("dagster/will_retry") == ("true" if dead else None)
    messages = [entry.message or "" for entry in instance.all_logs(run_id)]
    assert any(dead in message for message in messages) or not dead


def test_a_run_whose_task_is_not_recorded_is_left_to_its_time_limit(
    instance: dg.DagsterInstance, launcher: WorkersRunLauncher
) -> None:
    assert launcher.check_run_worker_health(started(instance)).status.name == "RUNNING"


def test_a_worker_has_the_tasks_and_says_that_its_run_lives(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(celery_runs, "_BEAT_SECONDS", 0.01)
    app = worker_app(instance)
    assert app is not None and {"execute_job", "resume_job"} <= app.tasks.keys()
    redis = Redis()
    redis.failures = 2
    task = SimpleNamespace(app=SimpleNamespace(backend=SimpleNamespace(client=redis)))
    signals.task_prerun.send(task_id="a-task", task=task, sender=None)
    assert redis.beaten.wait(10), "a broker that was away is told later"
    assert redis.set_keys[0] == "market-pipeline-run-a-task 12"
    (beating,) = [thread for thread in threading.enumerate() if thread.name == "heartbeat"]
    signals.task_postrun.send(task_id="a-task", task=task, sender=None)
    beating.join(10)
    assert not beating.is_alive()


def test_an_instance_that_launches_runs_otherwise_has_no_app(tmp_path: Path) -> None:
    with open_instance(tmp_path) as other:
        assert worker_app(other) is None


def test_the_broker_is_given_no_secret_and_none_is_shown_when_it_is_unreachable(
    instance: dg.DagsterInstance, launcher: WorkersRunLauncher
) -> None:
    origin = served_job("job")["job_code_origin"]
    message = pack_value(ExecuteRunArgs(origin, "a-run", instance.get_ref()))
    assert "CELERY_BROKER_URL" in str(message) and heard("message", str(message)) == []
    assert launcher.celery.conf.broker_url == BROKER, f"the password is {PASSWORD}"
    with pytest.raises(HomeError, match="correct CELERY_BROKER_URL") as refused:
        require_broker(launcher.celery)
    assert heard("error", words_of(refused.value)) == []
