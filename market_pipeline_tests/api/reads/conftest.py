"""The API over a database alone: reading needs neither a source of prices nor Dagster."""

from datetime import date

import pytest
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.dagster_reports import DagsterHome
from market_pipeline.api.service import Service
from market_pipeline.settings import load_settings


@pytest.fixture
def app_over(tmp_path):
    """`app_over(database, **settings)`: the application, with a clock if one is given."""

    def make(database, clock=None, **settings):
        url = database.url.render_as_string(hide_password=False)
        chosen = load_settings(None, **{"database_url": url, "history_start": date(2024, 1, 1), **settings})
        given = {} if clock is None else {"clock": clock}
        return create_app(Service(chosen, database, DagsterHome(tmp_path / "absent"), **given))

    return make


@pytest.fixture
def client_over(app_over):
    """`client_over(database, ...)`: asks it in process; errors become answers, as over a socket."""

    def make(database, clock=None, **settings):
        app = app_over(database, clock, **settings)
        return TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False)

    return make


@pytest.fixture
def client(client_over, database):
    """Asks the API over the database at hand."""
    return client_over(database)
