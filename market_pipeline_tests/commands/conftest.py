"""A folder in which commands are given, and what they find there."""

import logging
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.settings import LOCAL_DAGSTER_HOME as HOME
from market_pipeline.settings import Settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.commands.filling import Filling
from market_pipeline_tests.logging_state import restored

PROJECT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """A command configures the logging of its process, here that of all tests, each with its own standard error."""
    with restored():
        logging.getLogger("market_pipeline").handlers[:] = []
        yield


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A folder with the files that a command needs, and a `.env` that loses against the environment."""
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nDATABASE_URL=sqlite:///of_the_env_file.db\n")
    return tmp_path


@pytest.fixture
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder as the current one, with no settings in the environment."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(project)
    return project


@pytest.fixture(scope="session")
def used_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with an empty Dagster instance: creating it takes seconds, copying it none."""
    home = tmp_path_factory.mktemp("used") / HOME
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    create_instance(home)
    return home


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """CoinGecko, simulated."""
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as running:
        yield running


@pytest.fixture
def filling_of(
    inside: Path, used_home: Path, simulator: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., Filling]]:
    """Build the Filling of a used folder with these settings in the environment."""
    built: list[Filling] = []

    def build(**settings: str) -> Filling:
        built.append(Filling(inside, simulator, **settings))
        for name, value in built[-1].environment.items():
            monkeypatch.setenv(name, value)
        shutil.copytree(used_home, inside / HOME)
        return built[-1].migrated()

    yield build
    for filling in built:
        filling.database.dispose()


@pytest.fixture
def filling(filling_of: Callable[..., Filling]) -> Filling:
    """The Filling with ordinary settings."""
    return filling_of()
