"""Start the Dagster UI, the daemon and the API on this machine, with the schedules running."""

import os
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import click

from market_pipeline.alerts.stops import record_started, record_stopped
from market_pipeline.budget.status import budget_status
from market_pipeline.commands.alerts import place_of, required_receivers
from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.ports import API_PORT, HOST, require_free
from market_pipeline.commands.serve import server_command
from market_pipeline.commands.start import command_settings, database_of, warn_of_cost, warn_of_partitions
from market_pipeline.commands.terminal.face import Banner, Face, common_rows, face_of
from market_pipeline.commands.watch import watch_command
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.clock_jumps import forget_future_evaluations
from market_pipeline.dagster_instance.home import (
    checked_home,
    create_instance,
    default_home,
    only_daemon,
    open_instance,
    own_home,
    require_unused,
    shipped_file,
)
from market_pipeline.dagster_instance.instance_storage import InstanceStorage, storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.running import record
from market_pipeline.dagster_instance.runs_in_flight import cancel_launched_runs, end_canceled_runs
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.missing_days import gappy_days
from market_pipeline.pipeline.names import automations
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.settings import Settings
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

logger = get_logger(__name__)

# Measuring how much of the history is stored reads all of it.
_MOST_MEASURED = 5_000


def execute(port: int, api_port: int | None, *, api: bool) -> int:
    """Prepare and serve until Ctrl-C; return 0, or the exit code of a process that ended by itself, 1 if that is 0."""
    settings = command_settings()
    if settings.alert_receivers:
        required_receivers(settings)
    warn_of_partitions(settings)
    storage = storage_of(settings)
    home = checked_home(storage)
    require_unused(home)
    require_free(port, "the Dagster UI")
    api_port = choose_api_port(api_port) if api else None
    settings = with_addresses(settings, port, api_port)
    with own_home(home, storage, ours=home == default_home(Path.cwd())), face_of(settings, home / "run.log") as face:
        logger.info("DAGSTER_HOME is %s", home)
        face.doing("Preparing the database")
        database = database_of(settings)
        migrate(database)
        warn_of_cost(settings, database)
        create_instance(home, storage)
        cancel, end = (partial(step, home, storage) for step in (cancel_launched_runs, end_canceled_runs))
        with only_daemon(home, storage), Processes(cancel, end) as processes:
            _forget_future_evaluations(settings, home, storage)
            logger.info("The UI will be at http://%s:%s in a few seconds", HOST, port)
            face.doing("Starting Dagster; the UI answers in about half a minute")
            face.announce(_banner(settings, database, home, port, api_port, face), _history_text(settings, database))
            environment, folder = dagster_environment(home, settings), _without_env_file(home)
            addresses = {"UI": f"http://{HOST}:{port}"}
            if api_port is not None:
                addresses["API"] = f"http://{HOST}:{api_port}"
                face.start(processes, server_command(HOST, api_port), environment, folder, "api")
            record(home, **addresses)
            processes.start(dagster_command(port, settings.log_level), environment, folder, "dagster")
            if settings.alert_receivers:
                record_started(database, utc_now(), place_of(settings))
                face.start(processes, watch_command(), environment, folder, "watch")
            ended = face.wait(processes)
            if settings.alert_receivers:
                # The watcher sends it before it ends.
                record_stopped(database, f"{ended.name} {ended.how}", utc_now(), place_of(settings))
            return ended.exit_code or 1
    return 0


def _forget_future_evaluations(settings: Settings, home: Path, storage: InstanceStorage) -> None:
    with open_instance(home, storage) as instance:
        forget_future_evaluations(instance, owner_of(settings), automations(settings.collect_cron), utc_now())


def choose_api_port(chosen: int | None) -> int | None:
    """Return the port for the API; None, with a warning, if the usual one is in use and no other was chosen."""
    try:
        require_free(chosen or API_PORT, "the API", option="--api-port")
    except click.ClickException as error:
        if chosen is not None:
            raise
        logger.warning("The API is not served: %s, or add --no-api", error.format_message())
        return None
    return chosen or API_PORT


def with_addresses(settings: Settings, port: int, api_port: int | None) -> Settings:
    """Return `settings` whose links lead to these ports, unless they name addresses of their own."""
    own = {"dagster_ui_url": f"http://{HOST}:{port}"}
    if api_port is not None:
        own["api_url"] = f"http://{HOST}:{api_port}"
    given = settings.model_fields_set
    return settings.model_copy(update={name: url for name, url in own.items() if name not in given})


def _banner(
    settings: Settings, database: Database, home: Path, port: int, api_port: int | None, face: Face
) -> Banner:
    ui, api = f"http://{HOST}:{port}", f"http://{HOST}:{api_port}"
    per_minute = budget_status(settings, database).requests_per_minute
    rows = [("Dagster UI", ui)]
    if api_port is not None:
        rows += [("Prices page", api), ("API", f"{api}/docs")]
    rows += [
        ("Coins", f"{', '.join(settings.catalogue.symbols)}; COLLECT_CRON={settings.collect_cron}"),
        ("Plan", f"{settings.coingecko_plan}, {per_minute:,} requests a minute"),
        *common_rows(settings, home, face),
    ]
    answering = [f"{ui}/server_info", *([f"{api}/healthz"] if api_port is not None else [])]
    return Banner("The pipeline is running. Times are UTC.", rows, answering)


def _history_text(settings: Settings, database: Database) -> Callable[[], str]:
    """Return what says how much of the history is stored; nothing where that would be expensive to find out."""

    def text() -> str:
        now, catalogue = utc_now(), settings.catalogue
        first, last = settings.first_day(now), last_settled_day(now)
        total = ((last - first).days + 1) * len(catalogue.symbols)
        if not 0 < total <= _MOST_MEASURED:
            return ""
        try:
            missing = sum(gap.due for gap in gappy_days(database, catalogue, first, last, now))
        except StorageError:
            return ""
        return f"The history since {first} is {100 * (total - missing) // total}% filled."

    return text


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
        # Dagster's commands advise to install another one that does the same.
        "PYTHONWARNINGS": ",".join(
            f"ignore:Function `{name}` is superseded" for name in ("dev_command", "job_execute_command")
        ),
    }
