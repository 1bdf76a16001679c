"""The demo's own settings, database and DAGSTER_HOME, also for the commands that have `--demo`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import click
from pydantic import SecretStr

from market_pipeline.commands.ports import HOST, UI_PORT
from market_pipeline.core.clock import utc_now
from market_pipeline.settings import Settings, load_settings

HOME = ".dagster_home_demo"
DATABASE = "demo.db"
HISTORY_DAYS = 8
# Partitions before the filled ones, where an earlier demo may have collected.
_EARLIER_DAYS = 30
# Room for the first fill beside the ticks.
REQUESTS_PER_MINUTE = 60
# Nothing listens there: the simulator runs with the demo.
_NO_PORT = 9


def demo_settings(folder: Path, port: int, ui_port: int, receiver_port: int) -> Settings:
    """Return the settings: five coins from the simulator on `port`, collected every minute into a file in `folder`.

    Alerts go to a receiver on `receiver_port`, which prints them. Every setting is given, so that none of the
    environment can break the demo, except the format of the log.
    """
    readable = os.environ.get("LOG_FORMAT", "").strip().lower() == "console"
    defaults = {name: field.default for name, field in Settings.model_fields.items()}
    chosen = {
        "database_url": SecretStr(f"sqlite:///{folder / DATABASE}"),
        "coingecko_base_url": f"http://{HOST}:{port}/api/v3",
        "coingecko_requests_per_minute": REQUESTS_PER_MINUTE,
        "history_start": utc_now().date() - timedelta(days=HISTORY_DAYS + _EARLIER_DAYS),
        "collect_cron": "* * * * *",
        "log_format": "console" if readable else "json",
        "dagster_ui_url": f"http://{HOST}:{ui_port}",
        "alert_urls": SecretStr(f"json://{HOST}:{receiver_port}/"),
        "alert_severity": "watch",
    }
    return load_settings(env_file=None, **{**defaults, **chosen})


@contextmanager
def as_environment() -> Iterator[None]:
    """Let this process's environment name the demo's data in the current folder; refuse if there are none."""
    folder = Path.cwd()
    if not (folder / DATABASE).is_file():
        raise click.UsageError(f"there is no {DATABASE} in {folder}; `market-pipeline demo` creates it")
    settings = demo_settings(folder, _NO_PORT, UI_PORT, _NO_PORT)
    chosen = {**settings.as_environment(), "DAGSTER_HOME": str(folder / HOME)}
    before = {name: os.environ.get(name) for name in chosen}
    os.environ.update(chosen)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
