"""An installation to be examined: a folder, an environment, a real database, instance and simulator."""

import os
from pathlib import Path

import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.report import examine
from market_pipeline.settings import Settings, load_settings
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import coin_id

PROJECT = Path(__file__).parents[2]
SETTINGS = [name.upper() for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def own_environment(monkeypatch, tmp_path):
    """No setting of the person who runs the tests, and a folder without `.env`."""
    for name in [*SETTINGS, "DAGSTER_HOME"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def simulator():
    with Simulator(MarketModel(seed=1)) as running:
        yield running


@pytest.fixture
def subject(tmp_path):
    """An installation without anything but its folder."""
    return DoctorContext(tmp_path, {})


@pytest.fixture
def set_up(monkeypatch, tmp_path):
    """Builds a Subject whose settings are these; `database` is taken for examined and ready."""

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
def store_price():
    """Stores a quote of `symbol` as old as `age`."""

    def store(database, symbol, age, price=100.0):
        now = utc_now()
        row = {
            "symbol": symbol, "coin_id": coin_id(symbol), "timestamp": now - age, "price": price,
            "source": "simple_price",
            "ingested_at": now,
        }
        with database.writing() as connection:
            connection.execute(tables.raw_prices.insert().values(**row))

    return store


@pytest.fixture
def only():
    """The one finding of an examination."""

    def find(examination, subject):
        (finding,) = examine("the examination", examination, subject)
        return finding

    return find
