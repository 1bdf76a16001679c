"""Fixtures of the Dagster side: an instance in memory or in a home, one simulator, worlds."""

import shutil
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.settings import load_settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.defs.world import World, WorldOf

PROJECT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def market() -> MarketModel:
    """The simulated market: a pure function of time."""
    return MarketModel(coin_ids=tuple(KNOWN_COINS.values()), seed=7)


@pytest.fixture(scope="session")
def one_simulator(market: MarketModel) -> Iterator[Simulator]:
    with Simulator(market, plan="pro") as running:
        yield running


@pytest.fixture
def simulator(one_simulator: Simulator) -> Simulator:
    """The simulator of all tests, without faults and without requests."""
    one_simulator.clear_faults()
    one_simulator.clear_requests()
    return one_simulator


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in memory, with the log lines of runs as in the project's dagster.yaml."""
    logs = {"python_logs": {"managed_python_loggers": ["market_pipeline"]}}
    with dg.DagsterInstance.ephemeral(tempdir=str(tmp_path / "instance"), settings=logs) as opened:
        yield opened


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME with the project's dagster.yaml whose storage has been created."""
    home = tmp_path_factory.mktemp("prepared") / "dagster_home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as created:
        assert created.get_runs_count() == 0
    return home


@pytest.fixture
def home_instance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_home: Path
) -> Iterator[dg.DagsterInstance]:
    """An instance in a home of its own, for tests about what is on disk or in other processes."""
    home = tmp_path / "dagster_home"
    shutil.copytree(prepared_home, home)
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    with dg.DagsterInstance.get() as opened:
        yield opened


@pytest.fixture(autouse=True)
def _no_pictures(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out the drawing of the overview, most of a first tick's time, unless a test uses `pictures`."""
    if "pictures" not in request.fixturenames:
        monkeypatch.setattr("market_pipeline.charts.overview_chart.draw_overview", lambda *args: b"not drawn")


@pytest.fixture
def pictures() -> None:
    """The overview's pictures are drawn."""


@pytest.fixture
def world_of(instance: dg.DagsterInstance, simulator: Simulator) -> Iterator[WorldOf]:
    """Builds worlds on `instance` and the simulator."""
    opened = []

    def build(database: Database, **settings: Any) -> World:
        usual = {
            "database_url": database.url.render_as_string(hide_password=False),
            "coingecko_base_url": simulator.base_url,
            "coingecko_plan": "pro",
            "coingecko_api_key": "CG-test",
            # With both limits set /key is not requested.
            "coingecko_requests_per_minute": 10_000,
            "coingecko_monthly_credits": 10_000_000,
            "history_start": utc_now().date() - timedelta(days=40),
        }
        opened.append(World(load_settings(None, **{**usual, **settings}), instance, simulator))
        return opened[-1]

    yield build
    for world in opened:
        world.database.dispose()


@pytest.fixture
def world(world_of: WorldOf, sqlite_database: Database) -> World:
    """The usual world: five coins on SQLite."""
    return world_of(sqlite_database)


@pytest.fixture
def pair(world_of: WorldOf, sqlite_database: Database) -> World:
    """A world of two coins with four days of history, so that its runs are short."""
    start = utc_now().date() - timedelta(days=4)
    return world_of(sqlite_database, history_start=start, market_symbols="BTC,ETH")
