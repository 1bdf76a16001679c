"""Runs as tasks of Celery workers: any machine that reaches Redis and the databases may have some.

The tasks are those of dagster-celery. Nothing here is imported unless a dagster.yaml names `WorkersRunLauncher`.
"""

import threading
import time
from typing import TYPE_CHECKING, Any

import dagster as dg
from dagster._core.launcher import CheckRunHealthResult, WorkerStatus
from dagster_celery.launcher import CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from market_pipeline.dagster_instance.home import HomeError
from market_pipeline.logs import get_logger

if TYPE_CHECKING:
    from celery import Celery, Task

logger = get_logger(__name__)

# A process that executes a run says so every few seconds, in a key that Redis forgets soon after the last time.
_BEAT_SECONDS = 3.0
_FORGOTTEN_SECONDS = 12
_BROKER_SECONDS = 5


class WorkersRunLauncher(CeleryRunLauncher):
    """Dagster's Celery launcher, which also notices a worker that died together with its machine.

    Celery's record of a task stays STARTED when the whole worker is killed or cut off, and dagster-celery 0.29 trusts
    it: such a run would only end at its time limit. A task that ended without ending its run counts as healthy there,
    and one whose record Redis lost in a restart as dead. Here the process of the run is what counts.
    """

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Return whether the run's process lives; run monitoring reads the run's status again before it acts on it."""
        task_id = run.tags.get(DAGSTER_CELERY_TASK_ID_TAG)
        if task_id is None:
            # The daemon died between sending the task and recording its id; the run's time limit holds.
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        task = self.celery.AsyncResult(task_id)
        if task.ready():
            return _dead(f"Celery task {task_id} ended ({task.state}) without ending its run")
        redis = self.celery.backend.client
        if not redis.exists(_heartbeat(task_id)):
            # Redis may have been restarted without its data.
            time.sleep(_BEAT_SECONDS + 1)
            if not redis.exists(_heartbeat(task_id)):
                where = task.info.get("hostname") if isinstance(task.info, dict) else "of an unknown name"
                return _dead(f"The process of Celery task {task_id} is gone: worker {where} was killed or is cut off")
        return CheckRunHealthResult(WorkerStatus.RUNNING)


def _dead(reason: str) -> CheckRunHealthResult:
    return CheckRunHealthResult(WorkerStatus.FAILED, reason)


def _heartbeat(task_id: str) -> str:
    return f"market-pipeline-run-{task_id}"


def require_broker(app: "Celery") -> None:
    """Raise HomeError if the broker of `app` cannot be reached."""
    from kombu.exceptions import OperationalError

    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, interval_start=0, timeout=_BROKER_SECONDS)
    except OperationalError as error:
        raise HomeError(f"the broker cannot be reached: {error}", "start it or correct CELERY_BROKER_URL") from None


def worker_app(instance: dg.DagsterInstance) -> "Celery | None":
    """Return the Celery app of the instance's launcher, with its tasks; None if runs are not launched by it."""
    launcher = instance.run_launcher
    if not isinstance(launcher, WorkersRunLauncher):
        return None
    from celery.signals import task_postrun, task_prerun

    create_execute_job_task(launcher.celery)
    create_resume_job_task(launcher.celery)
    task_prerun.connect(_begin_heartbeat)
    task_postrun.connect(_end_heartbeat)
    return launcher.celery


# The task that this process executes; a process has one at a time.
_ended = threading.Event()


def _begin_heartbeat(task_id: str, task: "Task", **_: Any) -> None:
    global _ended
    _ended = threading.Event()
    threading.Thread(target=_beat, args=(task.app, task_id, _ended), name="heartbeat", daemon=True).start()


def _end_heartbeat(**_: Any) -> None:
    _ended.set()


def _beat(app: "Celery", task_id: str, ended: threading.Event) -> None:
    from redis.exceptions import RedisError

    while not ended.is_set():
        try:
            app.backend.client.set(_heartbeat(task_id), "", ex=_FORGOTTEN_SECONDS)
        except RedisError as error:
            logger.warning("Redis does not take the heartbeat of a run: %s", error)
        ended.wait(_BEAT_SECONDS)
