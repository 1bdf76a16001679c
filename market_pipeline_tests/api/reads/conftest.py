"""The API over a database alone: reading needs neither a source of prices nor Dagster."""

from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.connection import DagsterHome
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.serving import LOCAL

Clock = Callable[[], datetime]


@pytest.fixture
def app_over(tmp_path: Path) -> Callable[..., FastAPI]:
    """`app_over(database, clock, **settings)`: the application."""

    def make(database: Database, clock: Clock = utc_now, **settings: Any) -> FastAPI:
        url = database.url.render_as_string(hide_password=False)
        chosen = load_settings(None, **{"database_url": url, "history_start": date(2024, 1, 1), **settings})
        return create_app(Service(chosen, database, DagsterHome(tmp_path / "absent"), clock))

    return make


@pytest.fixture
def client_over(app_over: Callable[..., FastAPI]) -> Callable[..., TestClient]:
    """`client_over(database, clock, **settings)`: a client in process; errors become answers, as over a socket."""
    return lambda *given, **settings: TestClient(app_over(*given, **settings), LOCAL, raise_server_exceptions=False)


@pytest.fixture
def client(client_over: Callable[..., TestClient], database: Database) -> TestClient:
    """A client of the API over the database at hand."""
    return client_over(database)
