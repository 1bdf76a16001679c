"""The same UI and API without internet, fed by the simulator into a database of its own."""

import json
import os
import sys
from datetime import timedelta
from functools import partial
from pathlib import Path

import click

from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.demo_data import (
    HISTORY_DAYS,
    HOME,
    demo_settings,
    simulator_command,
    wait_until_ready,
)
from market_pipeline.commands.ports import API_PORT, HOST, free_port, require_free
from market_pipeline.commands.run import dagster_command, dagster_environment
from market_pipeline.commands.serve import server_command
from market_pipeline.commands.start import database_of
from market_pipeline.commands.terminal.face import Banner, Face, common_rows, face_of
from market_pipeline.commands.watch import watch_command
from market_pipeline.core.clock import utc_now
from market_pipeline.core.program import DEMO_VARIABLE
from market_pipeline.dagster_instance.home import create_instance, own_home, require_unused, variables_set
from market_pipeline.dagster_instance.instance_storage import FILES
from market_pipeline.dagster_instance.running import record
from market_pipeline.dagster_instance.runs_in_flight import cancel_launched_runs, end_canceled_runs
from market_pipeline.defs.partitions import range_tags
from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.pipeline.names import COMPLETE_DAYS
from market_pipeline.settings import Settings
from market_pipeline.storage.queries.latest import latest_quotes
from market_pipeline.storage.schema.migrate import migrate

logger = get_logger(__name__)


def execute(ui_port: int, chosen_api_port: int | None) -> int:
    """Prepare, fill the last days on the first start, and serve until Ctrl-C."""
    folder = Path.cwd()
    require_unused(folder / HOME)
    require_free(ui_port, "the Dagster UI")
    if chosen_api_port is not None:
        require_free(chosen_api_port, "the API", option="--api-port")
    port, receiver_port, api_port = free_port(), free_port(), chosen_api_port or _port_of_the_api()
    settings = demo_settings(folder, port, ui_port, receiver_port, api_port)
    configure_logging(settings)
    with (
        variables_set({DEMO_VARIABLE: "1"}), own_home(folder / HOME, ours=True) as home,
        face_of(settings, home / "demo.log") as face,
    ):
        logger.info("DAGSTER_HOME is %s, the demo's own whatever the environment names", home)
        face.doing("Preparing the database")
        database = database_of(settings)
        migrate(database)
        create_instance(home)
        environment = dagster_environment(home, settings)
        cancel, end = (partial(step, home, FILES) for step in (cancel_launched_runs, end_canceled_runs))
        with Processes(cancel, end) as processes:
            _start_sources(settings, environment, home, port, receiver_port, processes, face)
            record(
                home, UI=f"http://{HOST}:{ui_port}", API=f"http://{HOST}:{api_port}",
                simulator=f"http://{HOST}:{port}", alerts=f"http://{HOST}:{receiver_port}",
            )
            if not latest_quotes(database, settings.catalogue.symbols, utc_now()):
                _fill_history(settings, environment, home, processes, face)
            face.doing("Starting Dagster; the UI answers in about half a minute")
            logger.info(
                "Demo is starting; open http://%s:%s, or http://%s:%s for the API and its page",
                HOST, ui_port, HOST, api_port,
            )
            fall = f"curl -d '{{\"percent\": -8}}' http://{HOST}:{port}/admin/moves"
            logger.info("Alerts are printed here as they arrive; to see some, let the market fall: %s", fall)
            face.announce(_banner(settings, home, face, ui_port, api_port, fall))
            face.start(processes, server_command(HOST, api_port), environment, home, "api")
            processes.start(dagster_command(ui_port, settings.log_level), environment, home, "dagster")
            face.start(processes, watch_command(), environment, home, "watch")
            return face.wait(processes).exit_code or 1
    return 0


def _start_sources(
    settings: Settings, environment: dict[str, str], home: Path, port: int, receiver_port: int, processes: Processes,
    face: Face,
) -> None:
    """Start the simulator, and the receiver that prints the alerts; return when the simulator answers."""
    processes.start(simulator_command(port, home), os.environ, home, "market_pipeline.simulator")
    log_format = "json" if face.log or settings.log_format == "auto" else settings.log_format
    face.start(processes, receiver_command(receiver_port, log_format), environment, home, "receiver")
    wait_until_ready(port)


def _banner(settings: Settings, home: Path, face: Face, ui_port: int, api_port: int, fall: str) -> Banner:
    ui, api = f"http://{HOST}:{ui_port}", f"http://{HOST}:{api_port}"
    rows = [
        ("Dagster UI", ui),
        ("Prices page", api),
        ("API", f"{api}/docs"),
        ("Coins", f"{', '.join(settings.catalogue.symbols)}, every minute, from a simulated market"),
        *common_rows(settings, home, face),
    ]
    title = f"The demo is running. Times are UTC. To see alarms, let the market fall:\n  {fall}"
    return Banner(title, rows, [f"{ui}/server_info", f"{api}/healthz"])


def _port_of_the_api() -> int:
    """Return the usual port, or another if that is in use: a demo should just start."""
    try:
        require_free(API_PORT, "the API")
    except click.ClickException:
        return free_port()
    return API_PORT


def receiver_command(port: int, log_format: str) -> list[str]:
    """Return the command of the receiver that prints the demo's alerts."""
    command = [sys.executable, "-m", "market_pipeline.simulator.receiver"]
    return [*command, "--port", str(port), "--log-format", log_format]


def _fill_history(
    settings: Settings, environment: dict[str, str], home: Path, processes: Processes, face: Face
) -> None:
    """Fill the last days by one run, so that partitions, checks and anomalies are there from the start."""
    yesterday = utc_now().date() - timedelta(days=1)
    first = yesterday - timedelta(days=HISTORY_DAYS - 1)
    logger.info("Filling %s days of history from the simulator", HISTORY_DAYS)
    face.doing(f"Filling {HISTORY_DAYS} days of history from the simulator")
    tags = range_tags(first, yesterday, settings.catalogue.symbols)
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "market_pipeline.definitions"]
    command += ["-j", COMPLETE_DAYS, "--tags", json.dumps(tags)]
    if processes.run_to_end(command, environment, home, "dagster", face.poll):
        raise click.ClickException("the history run failed; its lines above say why")
