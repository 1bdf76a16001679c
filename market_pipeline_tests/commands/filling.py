"""A folder, a simulated CoinGecko and a database for commands that collect or change prices."""

import os
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
from sqlalchemy import func, select
from sqlalchemy.engine import make_url

from market_pipeline.commands.main import main
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import parse_catalogue
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.tables import raw_prices

CATALOGUE = parse_catalogue("BTC,ETH,SOL,ADA,DOT").simulated


class Filling:
    """The commands as a person gives them in `project`, with the settings in `environment`."""

    def __init__(self, project: Path, simulator: Simulator, **settings: str) -> None:
        self.project = project
        self.simulator = simulator
        url = f"sqlite:///{project / 'mine.db'}"
        self.database = Database(make_url(url), CATALOGUE.ids)
        # Today is never complete, nor is yesterday for an hour.
        self.settled = last_settled_day(utc_now())
        self.environment = {
            "DATABASE_URL": url,
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_PLAN": "keyless",
            "COINGECKO_API_KEY": "",
            "COINGECKO_REQUESTS_PER_MINUTE": "600",
            "HISTORY_START": self.days_ago(400).isoformat(),
            "COLLECT_CRON": "0 0 1 1 *",
            "LOG_LEVEL": "INFO",
            **settings,
        }

    def migrated(self) -> "Filling":
        migrate(self.database)
        return self

    def days_ago(self, days: int) -> date:
        """A day before the last one that can be complete."""
        return self.settled - timedelta(days=days)

    def arguments(self, first: int, last: int, *more: str) -> list[str]:
        """A backfill of days ago `first`..`last`."""
        start, end = self.days_ago(first).isoformat(), self.days_ago(last).isoformat()
        return ["backfill", "--from", start, "--to", end, *more]

    def backfill(self, first: int, last: int, *more: str) -> int:
        return main(self.arguments(first, last, *more))

    @property
    def history(self) -> list[tuple[str, str, str]]:
        """The (coin, from, to) of every request for history that the simulator has answered well."""
        return [
            (request.path.split("/")[2], request.query["from"], request.query["to"])
            for request in self.simulator.requests
            if request.path.endswith("/range") and request.status == 200
        ]

    def rows(self) -> int:
        with self.database.reading() as connection:
            return connection.execute(select(func.count()).select_from(raw_prices)).scalar_one()

    def instance(self) -> dg.DagsterInstance:
        """The instance of the current home; use it in a `with` block."""
        return dg.DagsterInstance.from_config(os.environ.get("DAGSTER_HOME") or str(self.project / HOME))

    def runs(self) -> list[dg.DagsterRun]:
        """Every run in the instance, oldest first."""
        with self.instance() as instance:
            return list(reversed(instance.get_runs()))

    def statuses(self) -> list[tuple[str, str]]:
        """(job, status) of every run, oldest first."""
        return [(run.job_name, run.status.value) for run in self.runs()]
