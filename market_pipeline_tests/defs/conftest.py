"""A small world for the Dagster side: the real code location, a real instance, a real database and
a simulated CoinGecko behind a real socket."""

import shutil
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.defs.partitions import partition_key, range_tags
from market_pipeline.settings import Settings, load_settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

PROJECT = Path(__file__).parents[2]


class World:
    """The code location of `settings` on `instance`, with helpers that say what a test means."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, simulator: Simulator) -> None:
        from market_pipeline.build import build_defs

        self.settings = settings
        self.instance = instance
        self.simulator = simulator
        self.database = Database(settings.database, settings.catalogue.ids)
        self.defs = build_defs(settings, resources={"database": self.database})
        self.symbols = settings.catalogue.symbols
        self.today = utc_now().date()

    def run(
        self, job: str, first: date, last: date, symbols: Sequence[str] = ()
    ) -> dg.ExecuteInProcessResult:
        """One run of `job` over a range of days and symbols, as the schedules ask for it."""
        tags = range_tags(first, last, symbols or self.symbols)
        definition = self.defs.resolve_job_def(job)
        return definition.execute_in_process(instance=self.instance, tags=tags, raise_on_error=False)

    def tick(self) -> dg.ExecuteInProcessResult:
        return self.run("tick", self.today, self.today)

    def complete(self, first: date, last: date, symbols: Sequence[str] = ()) -> dg.ExecuteInProcessResult:
        return self.run("complete_days", first, last, symbols)

    def days_ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    def rows(self, table: Any) -> list[dict[str, Any]]:
        """All rows of a table, ordered by its key."""
        with self.database.reading() as connection:
            found = connection.execute(select(table).order_by(*table.primary_key.columns))
            return [dict(row._mapping) for row in found]

    def prices(self) -> list[dict[str, Any]]:
        return self.rows(tables.raw_prices)

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def materialized(self, asset: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset)))

    def latest_metadata(
        self, asset: str, day: date | None = None, symbol: str | None = None
    ) -> dict[str, Any]:
        """Metadata values of the newest materialization, of one partition if one is named."""
        keys = [str(partition_key(day, symbol))] if day and symbol else None
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=keys), limit=1
        ).records
        materialization = records[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def insert(self, **row: Any) -> None:
        """What another writer would do: a row that no rule of this project has seen."""
        coin_id = self.settings.catalogue.coin(row["symbol"]).coin_id
        values = {"coin_id": coin_id, "source": "simple_price", "ingested_at": utc_now(), **row}
        with self.database.writing() as connection:
            connection.execute(tables.raw_prices.insert().values(**values))


@pytest.fixture(scope="session")
def market():
    """The simulated market: a pure function of time."""
    return MarketModel(coin_ids=tuple(KNOWN_COINS.values()), seed=7)


@pytest.fixture
def simulator(market):
    with Simulator(market, plan="pro") as running:
        yield running


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory):
    """A DAGSTER_HOME with the project's dagster.yaml whose storage has been created."""
    home = tmp_path_factory.mktemp("prepared") / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as created:
        assert created.get_runs_count() == 0
    return home


@pytest.fixture
def instance(tmp_path, monkeypatch, prepared_home):
    """A real instance in a home of its own."""
    home = tmp_path / "dagster_home"
    shutil.copytree(prepared_home, home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture
def world_of(monkeypatch, instance, simulator):
    """Builds a World on a migrated database."""
    opened = []

    def build(database: Database, **environment: str) -> World:
        values = {
            "DATABASE_URL": database.url.render_as_string(hide_password=False),
            "COINGECKO_BASE_URL": simulator.base_url,
            "COINGECKO_PLAN": "pro",
            "COINGECKO_API_KEY": "CG-test",
            # With both limits set nothing is asked but what the test asks for.
            "COINGECKO_REQUESTS_PER_MINUTE": "10000",
            "COINGECKO_MONTHLY_CREDITS": "10000000",
            "HISTORY_START": (utc_now().date() - timedelta(days=300)).isoformat(),
            **environment,
        }
        for name, value in values.items():
            monkeypatch.setenv(name, value)
        world = World(load_settings(None), instance, simulator)
        opened.append(world)
        return world

    yield build
    for world in opened:
        world.database.dispose()


@pytest.fixture
def world(world_of, sqlite_database):
    """The usual world: SQLite."""
    return world_of(sqlite_database)
