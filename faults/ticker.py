"""Ticks back to back in one warm process, each five minutes of simulated time after the one before.

A day of ticks takes minutes instead of a day. Prices, partitions and schedules see the simulated time; the request
budget and Dagster's tables in PostgreSQL have the clock of their database.
"""

import os
from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from functools import cached_property
from itertools import pairwise
from pathlib import Path

import dagster as dg
import time_machine

from benchmarks.world import COINS, MARKET
from market_pipeline.build import build_defs
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.home import open_instance, variables_of
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.runs_in_flight import executing_here
from market_pipeline.defs.automation.schedules import tick_request
from market_pipeline.defs.logging.run_console import write_events_as_lines
from market_pipeline.logs import configure_logging
from market_pipeline.pipeline.names import TICK
from market_pipeline.settings import load_settings
from market_pipeline.simulator.feed import FIVE_MINUTES
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices

SYMBOLS = tuple(KNOWN_COINS)
# Scores rest on the eight days before.
_SEEDED_DAYS = 9
_JUMP = 0.04


class Ticker:
    """Runs jobs in this process, as a warm worker does; `environment` names store and source."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        os.environ.update(environment)
        settings = load_settings(None)
        configure_logging(settings)
        write_events_as_lines()
        keep_event_log_connections()
        self.owner = owner_of(settings)
        self.database = Database(settings.database, settings.catalogue.ids)
        self._storage = storage_of(settings)
        self._home = Path(environment["DAGSTER_HOME"])
        self._definitions = build_defs(settings, resources={"database": self.database})
        self._jobs: dict[str, dg.JobDefinition] = {}

    @cached_property
    def instance(self) -> dg.DagsterInstance:
        """The Dagster instance, opened when first used."""
        return open_instance(self._home, self._storage, capture=False)

    def job(self, name: str) -> dg.JobDefinition:
        """Return a job, whose definition is resolved once."""
        if name not in self._jobs:
            self._jobs[name] = self._definitions.resolve_job_def(name)
        return self._jobs[name]

    def prepare(self) -> None:
        """Resolve the tick's job without opening a connection, so that this process can be forked."""
        self.job(TICK)

    def tick(self, at: datetime) -> bool:
        """Run the tick that is due `at`; return whether it succeeded."""
        return self.run(TICK, tick_request(at, SYMBOLS).tags, at)

    def run(self, job: str, tags: Mapping[str, str], at: datetime) -> bool:
        """Run a job at the time `at`; return whether it succeeded."""
        with variables_of(self._storage), time_machine.travel(at, tick=True), executing_here(self.instance) as own:
            run = self.job(job).execute_in_process(
                instance=self.instance, tags={**tags, **own}, raise_on_error=False
            )
        return run.success

    def close(self) -> None:
        """Close the connections."""
        self.instance.dispose()
        self.database.dispose()


def first_tick(days_ago: int) -> datetime:
    """Return midnight so many days before today."""
    today = datetime.now(timezone.utc).replace(hour=0, minute=0, second=0, microsecond=0)
    return today - timedelta(days=days_ago)


def before_a_jump() -> datetime:
    """Return a time some minutes before a jump of the market's prices: its anomalies are worth losing."""
    for days in range(2, 60):
        start = first_tick(days)
        for coin_id in KNOWN_COINS.values():
            points = list(MARKET.points(coin_id, start + timedelta(hours=1), start + timedelta(hours=12), FIVE_MINUTES))
            for (_, before), (at, after) in pairwise(points):
                if abs(after / before - 1) > _JUMP:
                    return start + (at - start) // FIVE_MINUTES * FIVE_MINUTES - 6 * FIVE_MINUTES
    raise RuntimeError("the market has no jump")


def seed_prices(database: Database, until: datetime) -> None:
    """Store the five-minute prices of the market of the days before `until`."""
    rows = [
        {
            "symbol": symbol, "coin_id": COINS[symbol], "timestamp": at, "price": price, "source": "market_chart",
            "ingested_at": until,
        }
        for symbol, coin_id in KNOWN_COINS.items()
        for at, price in MARKET.points(coin_id, until - timedelta(days=_SEEDED_DAYS), until, FIVE_MINUTES)
    ]
    upsert(database, raw_prices, columns_of(raw_prices, rows))
