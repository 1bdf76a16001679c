"""The same UI and API without internet, fed by the simulator into a database of its own."""

import json
import os
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import click
import requests

from market_pipeline.commands.children.processes import Processes
from market_pipeline.commands.demo_data import HISTORY_DAYS, HOME, REQUESTS_PER_MINUTE, demo_settings
from market_pipeline.commands.ports import API_PORT, HOST, free_port, require_free
from market_pipeline.commands.receivers import watch_command
from market_pipeline.commands.run import dagster_command, dagster_environment
from market_pipeline.commands.serve import server_command
from market_pipeline.commands.start import database_of
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import create_instance, own_home
from market_pipeline.defs.partitions import range_tags
from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.pipeline.names import COMPLETE_DAYS
from market_pipeline.settings import Settings
from market_pipeline.storage.queries.latest import latest_quotes
from market_pipeline.storage.schema.migrate import migrate

logger = get_logger(__name__)

_READY_SECONDS = 30.0


def execute(ui_port: int) -> int:
    """Prepare, fill the last days on the first start, and serve until Ctrl-C."""
    folder = Path.cwd()
    require_free(ui_port, "the Dagster UI")
    port, receiver_port = free_port(), free_port()
    settings = demo_settings(folder, port, ui_port, receiver_port)
    configure_logging(settings)
    with own_home(folder / HOME, ours=True) as home:
        logger.info("DAGSTER_HOME is %s, the demo's own whatever the environment names", home)
        database = database_of(settings)
        migrate(database)
        create_instance(home)
        environment = dagster_environment(home, settings)
        with Processes() as processes:
            processes.start(simulator_command(port), os.environ, home, "market_pipeline.simulator")
            readable = {**environment, "LOG_FORMAT": settings.log_format}
            processes.start(receiver_command(receiver_port, settings.log_format), readable, home)
            _wait_until_ready(port)
            if not latest_quotes(database, settings.catalogue.symbols, utc_now()):
                _fill_history(settings, environment, home)
            api_port = _port_of_the_api()
            logger.info(
                "Demo is starting; open http://%s:%s, or http://%s:%s for the API and its page",
                HOST, ui_port, HOST, api_port,
            )
            fall = f"curl -d '{{\"percent\": -8}}' http://{HOST}:{port}/admin/moves"
            logger.info("Alerts are printed here as they arrive; to see some, let the market fall: %s", fall)
            # The output of those that get `readable` is not relayed.
            processes.start(server_command(HOST, api_port), readable, home)
            command = dagster_command(ui_port, settings.log_level)
            processes.start(command, environment, home, "dagster")
            processes.start(watch_command(), readable, home)
            return processes.wait_for_any()
    return 0


def _port_of_the_api() -> int:
    """Return the usual port, or another if that is in use: a demo should just start."""
    try:
        require_free(API_PORT, "the API")
    except click.ClickException:
        return free_port()
    return API_PORT


def simulator_command(port: int) -> list[str]:
    """Return the command of the simulator, with its market model and room for the demo's requests."""
    command = [sys.executable, "-m", "market_pipeline.simulator", "--model", "--quiet"]
    return [*command, "--port", str(port), "--requests-per-minute", str(REQUESTS_PER_MINUTE)]


def receiver_command(port: int, log_format: str) -> list[str]:
    """Return the command of the receiver that prints the demo's alerts."""
    command = [sys.executable, "-m", "market_pipeline.simulator.receiver"]
    return [*command, "--port", str(port), "--log-format", log_format]


def _wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            agent = {"User-Agent": "market-pipeline demo"}
            requests.get(f"http://{HOST}:{port}/api/v3/ping", headers=agent, timeout=1)
            return
        except requests.RequestException:
            time.sleep(0.2)
    raise click.ClickException(f"the simulator does not answer on port {port}; start `market-pipeline demo` again")


def _fill_history(settings: Settings, environment: dict[str, str], home: Path) -> None:
    """Fill the last days by one run, so that partitions, checks and anomalies are there from the start."""
    yesterday = utc_now().date() - timedelta(days=1)
    first = yesterday - timedelta(days=HISTORY_DAYS - 1)
    logger.info("Filling %s days of history from the simulator", HISTORY_DAYS)
    tags = range_tags(first, yesterday, settings.catalogue.symbols)
    command = [sys.executable, "-m", "dagster", "job", "execute", "-m", "market_pipeline.definitions"]
    command += ["-j", COMPLETE_DAYS, "--tags", json.dumps(tags)]
    # Printed if it fails.
    readable = {**environment, "LOG_FORMAT": "console"}
    finished = subprocess.run(command, env=readable, cwd=home, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise click.ClickException(f"the history run failed:\n{finished.stderr[-4000:]}")
