"""Execute runs that a daemon on another machine queues: a Celery worker with the project already imported."""

import importlib
import importlib.util
import os
import socket
import uuid
from typing import TYPE_CHECKING

from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.dagster_instance.home import HomeError, current_home, open_instance
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings
from market_pipeline.storage.schema.migrate import check_schema

if TYPE_CHECKING:
    from celery import Celery

logger = get_logger(__name__)

# A process that executed so many runs is replaced, whatever it has gathered in memory; the new one is warm too.
_MOST_RUNS = 200


def execute(concurrency: int) -> int:
    """Execute runs until SIGTERM, which lets the current ones end; return Celery's exit code."""
    settings = command_settings()
    home, storage = current_home(), storage_of(settings)
    if importlib.util.find_spec("dagster_celery") is None:
        raise HomeError("Celery is not installed", "install 'market-pipeline[celery]'")
    if storage.url is None or settings.database.get_backend_name() == "sqlite":
        raise HomeError("SQLite files cannot be reached from other machines", "set DATABASE_URL to PostgreSQL")
    if settings.celery_broker_url is None:
        raise HomeError("CELERY_BROKER_URL is not set", "set it to the Redis server that the daemon's machine uses")
    _require_schema(settings)
    # Runs open the instance by themselves, and its dagster.yaml names variables.
    os.environ.update(settings.as_environment())
    os.environ.update(storage.variables, DAGSTER_HOME=str(home))
    with open_instance(home, storage) as instance:
        from market_pipeline.dagster_instance.celery_runs import require_broker, worker_app

        app = worker_app(instance)
        if app is None:
            raise HomeError(
                f"the dagster.yaml in {home} does not launch runs through Celery",
                "use that of deploy/celery, as on the machine of the daemon",
            )
        require_broker(app)
    # Before the fork: no process that executes runs imports them again.
    importlib.import_module("market_pipeline.definitions")
    return _work(app, concurrency)


def _require_schema(settings: Settings) -> None:
    database = database_of(settings)
    try:
        check_schema(database)
    finally:
        # The processes forked below must not share its connections.
        database.dispose()


def _work(app: "Celery", concurrency: int) -> int:
    from celery.signals import setup_logging

    # With a receiver, Celery leaves the handlers of logging alone.
    setup_logging.connect(_keep_logging)
    app.conf.update(
        worker_redirect_stdouts=False,
        worker_max_tasks_per_child=_MOST_RUNS,
        # A run must not wait behind a long one here while another machine is idle.
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        broker_connection_retry_on_startup=True,
    )
    # Celery takes two workers of the same name for one.
    name = f"{uuid.uuid4().hex[:8]}@{socket.gethostname()}"
    logger.info("Executing up to %s runs at once as worker %s", concurrency, name)
    arguments = ["--quiet", "worker", "--hostname", name, "--concurrency", str(concurrency), "--loglevel", "WARNING"]
    try:
        app.worker_main([*arguments, "--without-gossip", "--without-mingle"])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


def _keep_logging(**_: object) -> None:
    """Take the place of Celery's own set-up."""
