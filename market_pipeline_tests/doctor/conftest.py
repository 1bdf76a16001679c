"""An installation to be examined: a folder, an environment, a real database, instance and simulator."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.settings import Settings, load_settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.doctor.examining import Installed


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No setting of the person who runs the tests, and a folder without `.env`."""
    for name in [*(name.upper() for name in Settings.model_fields), "DAGSTER_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    with Simulator(MarketModel(seed=1)) as running:
        yield running


@pytest.fixture
def installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Installed:
    def build(database: Database | None = None, **settings: str) -> DoctorContext:
        if database is not None:
            settings["DATABASE_URL"] = database.url.render_as_string(hide_password=False)
        for name, value in settings.items():
            monkeypatch.setenv(name, value)
        context = DoctorContext(tmp_path, dict(os.environ))
        context.settings = load_settings(None)
        if database is not None:
            context.database = database
        return context

    return build


@pytest.fixture
def home(tmp_path: Path, home_template: Path) -> Path:
    """The home of the installation, whose storage has been created."""
    return shutil.copytree(home_template, tmp_path / ".dagster_home")


@pytest.fixture
def opened(home: Path, installed: Installed) -> Iterator[DoctorContext]:
    """A context whose instance is open."""
    context = installed()
    context.home = home
    with open_instance(home) as context.instance:
        yield context
