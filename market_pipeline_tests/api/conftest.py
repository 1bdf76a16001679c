"""The API in process over a real database, and over a real socket, with a simulator where prices come from."""

import shutil
import socket
import threading
import time
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import pytest
import uvicorn
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.dagster_reports import DagsterHome
from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS, parse_catalogue
from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.settings import load_settings
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.api.browser import chromium
from market_pipeline_tests.api.history import fill


@pytest.fixture
def simulator():
    """A CoinGecko on loopback that refuses nothing by itself."""
    with Simulator(MarketModel()) as running:
        yield running


@pytest.fixture(scope="session")
def created_home(tmp_path_factory):
    """A Dagster instance; telemetry off, and no processes that capture what a run prints."""
    home = tmp_path_factory.mktemp("created") / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(
        "telemetry: {enabled: false}\n"
        "compute_logs: {module: dagster._core.storage.noop_compute_log_manager, class: NoOpComputeLogManager}\n"
    )
    create_instance(home)
    return home


@pytest.fixture
def dagster_home(tmp_path, created_home):
    """A folder with a Dagster instance of its own."""
    return shutil.copytree(created_home, tmp_path / "dagster_home")


@pytest.fixture
def service_of(database, dagster_home, simulator):
    """`service_of(**settings)`: a service over the database at hand, the simulator and a Dagster home.

    It has been there for an hour, or as long as `up` says, and reads Dagster's storage each time it is asked. What
    is stored beside it is of the simulator's coins.
    """
    made = []
    database.coins = parse_catalogue(",".join(KNOWN_COINS)).simulated.ids

    def make(clock=None, up=timedelta(hours=1), read_seconds=60.0, **settings):
        chosen = load_settings(None, **{
            "database_url": database.url.render_as_string(hide_password=False),
            "coingecko_base_url": simulator.base_url,
            "coingecko_requests_per_minute": 10_000,
            **settings,
        })
        database.coins = chosen.catalogue.ids
        dagster = DagsterHome(dagster_home, read_seconds=read_seconds, report_seconds=60.0, cache_seconds=0.0)
        service = Service(chosen, database, dagster, clock or utc_now, utc_now() - up)
        made.append(service)
        return service

    yield make
    for service in made:
        service.dagster.close()


@pytest.fixture
def some_history(service_of, database):
    """Two days of five-minute prices of every default coin, and anomalies of each kind among them."""
    return fill(database)


@pytest.fixture
def client(service_of):
    """Asks the API in process; errors of the server become answers, as over a socket."""
    with TestClient(
        create_app(service_of()), "http://127.0.0.1:8000", raise_server_exceptions=False
    ) as asking:
        yield asking


@pytest.fixture
def api(service_of):
    """`api(**settings)`: asks an API with these settings in process; its `app` is there too."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(
            TestClient(
                create_app(service_of(**settings)), "http://127.0.0.1:8000", raise_server_exceptions=False
            )
        )


@pytest.fixture(scope="module")
def browser():
    """The system's Chromium; the test is skipped where there is none."""
    with chromium() as running:
        yield running


@contextmanager
def served(app):
    """`app` on a free loopback port, by uvicorn in a thread; gives its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield "http://127.0.0.1:{}".format(listener.getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(10)
        listener.close()
