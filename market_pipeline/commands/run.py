"""Start the Dagster UI and daemon on this machine, with the schedules running."""

import os
import sys
from pathlib import Path

from market_pipeline.alerts.stops import tell_started, tell_stopped
from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.ports import HOST, require_free
from market_pipeline.commands.receivers import place_of, required_receivers, watch_command
from market_pipeline.commands.start import command_settings, database_of, warn_of_cost, warn_of_partitions
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.clock_jumps import forget_future_evaluations
from market_pipeline.dagster_instance.home import (
    checked_home,
    create_instance,
    default_home,
    only_daemon,
    open_instance,
    own_home,
    shipped_file,
)
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.names import automations
from market_pipeline.settings import Settings
from market_pipeline.storage.schema.migrate import migrate

logger = get_logger(__name__)


def execute(port: int) -> int:
    """Prepare and serve until Ctrl-C; return 0, or the exit code of a process that ended by itself."""
    settings = command_settings()
    if settings.alert_receivers:
        required_receivers(settings)
    warn_of_partitions(settings)
    require_free(port, "the Dagster UI")
    storage = storage_of(settings)
    home = checked_home(storage)
    with own_home(home, storage, ours=home == default_home(Path.cwd())):
        logger.info("DAGSTER_HOME is %s", home)
        database = database_of(settings)
        migrate(database)
        warn_of_cost(settings, database)
        create_instance(home, storage)
        with only_daemon(home, storage), Processes() as processes:
            with open_instance(home, storage) as instance:
                automatic = automations(settings.collect_cron)
                forget_future_evaluations(instance, owner_of(settings), automatic, utc_now())
            logger.info("The UI will be at http://%s:%s in a few seconds", HOST, port)
            command = dagster_command(port, settings.log_level)
            environment, folder = dagster_environment(home, settings), _without_env_file(home)
            processes.start(command, environment, folder, "dagster")
            if not settings.alert_receivers:
                return processes.wait_for_any()
            tell_started(database, utc_now(), place_of(settings))
            # It writes its log lines itself.
            processes.start(watch_command(), {**environment, "LOG_FORMAT": settings.log_format}, folder)
            code = processes.wait_for_any()
            # The watcher sends it before it ends.
            tell_stopped(database, code, utc_now(), place_of(settings))
            return code
    return 0


def _without_env_file(home: Path) -> Path:
    """Create a working folder: DAGSTER_HOME may be a project's folder with a `.env` of its own."""
    folder = home / "work"
    folder.mkdir(exist_ok=True)
    return folder


def dagster_command(port: int, log_level: str) -> list[str]:
    """Return the command of one process that starts the UI, the daemon and the code server."""
    workspace = str(shipped_file("workspace.yaml"))
    command = [sys.executable, "-m", "dagster", "dev", "--workspace", workspace]
    # LOG_LEVEL=DEBUG is for the details of this package, not of Dagster.
    level = "info" if log_level == "DEBUG" else log_level.lower()
    return [*command, "--host", HOST, "--port", str(port), "--log-level", level]


def dagster_environment(home: Path, settings: Settings) -> dict[str, str]:
    """Return the environment of Dagster's processes: these settings, whatever a `.env` file contains.

    Dagster lets a `.env` in its working folder win over the environment; `_without_env_file` has none.
    """
    return {
        **os.environ,
        **settings.as_environment(),
        **storage_of(settings).variables,
        "DAGSTER_HOME": str(home),
        # The process that relays these lines writes them in the configured format.
        "LOG_FORMAT": "json",
        # `dagster dev` advises to install another command that starts the same processes.
        "PYTHONWARNINGS": "ignore:Function `dev_command` is superseded",
    }
