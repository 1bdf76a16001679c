"""`build_defs` uses what it is given and touches nothing else."""

import shutil
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
from sqlalchemy import select
from sqlalchemy.engine import make_url

from market_pipeline.build import build_defs
from market_pipeline.core.clock import utc_now
from market_pipeline.defs.partitions import range_tags
from market_pipeline.settings import Settings
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import raw_prices

# In a process of its own, which no other test has changed.
UNTOUCHED = """
import logging, os, sys, threading, warnings
import dagster as dg
from market_pipeline.build import build_defs
from market_pipeline.settings import Settings

def state():
    return (
        dict(os.environ), os.listdir(), sys.excepthook, threading.excepthook, warnings.showwarning,
        list(warnings.filters), dg.colored_console_logger.logger_fn, logging.root.handlers,
        logging.getLogger("market_pipeline").handlers, logging.getLogger("market_pipeline").level,
    )

before = state()
settings = Settings(_env_file=None, database_url="sqlite:///prices.db", market_symbols="BTC")
build_defs(settings).get_repository_def()
assert state() == before, (state(), before)
"""


def test_it_touches_nothing_of_the_process_and_reads_no_env_file(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("HISTORY_START=nonsense\n")
    subprocess.run([sys.executable, "-W", "error", "-c", UNTOUCHED], cwd=tmp_path, check=True)


def _settings(simulator: Simulator, file: Path, symbols: str) -> Settings:
    return Settings(
        _env_file=None,
        database_url=f"sqlite:///{file}",
        coingecko_base_url=simulator.base_url,
        coingecko_plan="pro",
        coingecko_api_key="CG-test",
        coingecko_requests_per_minute=10_000,
        coingecko_monthly_credits=10_000_000,
        market_symbols=symbols,
    )


def test_two_code_locations_in_one_process_each_work_on_their_own_database(
    tmp_path: Path, sqlite_template: Path, simulator: Simulator, instance: dg.DagsterInstance
) -> None:
    """The environment names neither: both are built before either is materialized."""
    symbols = {"one": ("BTC", "ETH"), "two": ("ETH", "SOL", "ADA")}
    files = {name: shutil.copyfile(sqlite_template, tmp_path / f"{name}.db") for name in symbols}
    locations = {
        name: build_defs(_settings(simulator, files[name], ",".join(coins)), location=name)
        for name, coins in symbols.items()
    }
    today = utc_now().date()
    for name, defs in locations.items():
        job, tags = defs.resolve_job_def("tick"), range_tags(today, today, symbols[name])
        assert job.execute_in_process(instance=instance, tags=tags).success
        assert defs.resolve_job_def("account_requests").execute_in_process(instance=instance).success
    for name, file in files.items():
        with ExitStack() as closing:
            database = Database(make_url(f"sqlite:///{file}"))
            closing.callback(database.dispose)
            connection = closing.enter_context(database.reading())
            assert set(connection.execute(select(raw_prices.c.symbol)).scalars()) == set(symbols[name])
