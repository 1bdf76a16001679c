"""The demo's own settings, database and DAGSTER_HOME, also for the commands that have `--demo`."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from urllib.parse import urlsplit

import click
import requests
from pydantic import SecretStr

from market_pipeline.commands.ports import API_PORT, HOST, UI_PORT, free_port
from market_pipeline.core.clock import utc_now
from market_pipeline.core.program import DEMO_VARIABLE, PROGRAM, is_demo
from market_pipeline.dagster_instance.home import variables_set
from market_pipeline.dagster_instance.running import running
from market_pipeline.settings import Settings, load_settings

HOME = ".dagster_home_demo"
DATABASE = "demo.db"
HISTORY_DAYS = 8
# Partitions before the filled ones, where an earlier demo may have collected.
_EARLIER_DAYS = 30
# Room for the first fill beside the ticks.
REQUESTS_PER_MINUTE = 60
# Nothing listens there.
_NO_PORT = 9
_READY_SECONDS = 30.0


def demo_settings(folder: Path, port: int, ui_port: int, receiver_port: int, api_port: int) -> Settings:
    """Return the settings: five coins from the simulator on `port`, collected every minute into a file in `folder`.

    Alerts go to a receiver on `receiver_port`, which prints them. Every setting is given, so that none of the
    environment can break the demo, except the format of the log.
    """
    log_format = os.environ.get("LOG_FORMAT", "").strip().lower()
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    chosen = {
        "database_url": SecretStr(f"sqlite:///{folder / DATABASE}"),
        "coingecko_base_url": f"http://{HOST}:{port}/api/v3",
        "coingecko_requests_per_minute": REQUESTS_PER_MINUTE,
        "history_start": utc_now().date() - timedelta(days=HISTORY_DAYS + _EARLIER_DAYS),
        "collect_cron": "* * * * *",
        "log_format": log_format if log_format in ("json", "console") else "auto",
        "dagster_ui_url": f"http://{HOST}:{ui_port}",
        "api_url": f"http://{HOST}:{api_port}",
        "alert_urls": SecretStr(f"json://{HOST}:{receiver_port}/"),
        "alert_severity": "watch",
    }
    return load_settings(env_file=None, **{**defaults, **chosen})


def simulator_command(port: int, home: Path) -> list[str]:
    """Return the command of the simulator: its market model, the moves kept in `home`, room for the demo's requests."""
    command = [sys.executable, "-m", "market_pipeline.simulator", "--model", "--quiet"]
    command += ["--moves", str(home / "moves.jsonl")]
    return [*command, "--port", str(port), "--requests-per-minute", str(REQUESTS_PER_MINUTE)]


def wait_until_ready(port: int) -> None:
    """Wait until the simulator on `port` answers."""
    deadline = time.monotonic() + _READY_SECONDS
    while time.monotonic() < deadline:
        try:
            agent = {"User-Agent": "market-pipeline demo"}
            requests.get(f"http://{HOST}:{port}/api/v3/ping", headers=agent, timeout=1)
            return
        except requests.RequestException:
            time.sleep(0.2)
    raise click.ClickException(f"the simulator does not answer on port {port}; start the command again")


@contextmanager
def demo_environment() -> Iterator[None]:
    """Let this process's environment name the demo's data in the current folder; refuse if there are none.

    If the demo is running, its own simulator answers requests, otherwise one that `simulated_source` starts.
    """
    folder = Path.cwd()
    if missing := [name for name in (DATABASE, HOME) if not (folder / name).exists()]:
        raise click.UsageError(f"there is no {missing[0]} in {folder}; `{PROGRAM} demo` creates it")
    addresses = found.addresses if (found := running(folder / HOME)) else {}
    ui, api, simulator, receiver = (
        urlsplit(addresses.get(name, "")).port for name in ("UI", "API", "simulator", "alerts")
    )
    settings = demo_settings(
        folder, simulator or free_port(), ui or UI_PORT, receiver or _NO_PORT, api or API_PORT
    )
    with variables_set({**settings.as_environment(), "DAGSTER_HOME": str(folder / HOME), DEMO_VARIABLE: "1"}):
        yield


@contextmanager
def simulated_source() -> Iterator[None]:
    """Start a simulator for the block, where this process works on the data of a demo that is not running."""
    home = Path.cwd() / HOME
    port = urlsplit(load_settings(env_file=None).base_url).port if is_demo() and not running(home) else None
    if port is None:
        yield
        return
    child = subprocess.Popen(simulator_command(port, home))
    try:
        wait_until_ready(port)
        yield
    finally:
        child.terminate()
        child.wait()
