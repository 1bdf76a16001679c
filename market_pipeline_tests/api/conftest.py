"""The API over a real database and a real Dagster instance, with a simulator where prices come from."""

import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from playwright.sync_api import Browser
from sqlalchemy.engine import make_url
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.core.symbols import KNOWN_COINS, parse_catalogue
from market_pipeline.dagster_instance.connection import DagsterHome
from market_pipeline.dagster_instance.home import create_instance, open_instance
from market_pipeline.settings import load_settings
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.browser import Opened, Tab, chromium
from market_pipeline_tests.api.serving import asking, served

ServiceOf = Callable[..., Service]


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A CoinGecko on loopback that refuses nothing by itself."""
    with Simulator(MarketModel()) as running:
        yield running


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Database:
    """SQLite, unless the test is marked with `serving.both_databases`: few of the API's tests depend on the SQL."""
    dialect = getattr(request, "param", "sqlite")
    found: Database = request.getfixturevalue("sqlite_database" if dialect == "sqlite" else "postgres_database")
    return found


@pytest.fixture(scope="session")
def created_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
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
def dagster_home(tmp_path: Path, created_home: Path) -> Path:
    """A folder with a Dagster instance of the test's own."""
    return Path(shutil.copytree(created_home, tmp_path / "dagster_home"))


@pytest.fixture
def instance(dagster_home: Path) -> Iterator[dg.DagsterInstance]:
    """The instance of the API, opened beside it as a daemon would."""
    with dg.DagsterInstance.from_config(str(dagster_home)) as opened:
        yield opened


@pytest.fixture(scope="session")
def shared_dagster(tmp_path_factory: pytest.TempPathFactory, created_home: Path) -> Iterator[DagsterHome]:
    """A Dagster instance, open already: opening one takes longer than most tests."""
    home = shutil.copytree(created_home, tmp_path_factory.mktemp("shared") / "dagster_home")
    dagster = DagsterHome(home, read_seconds=60.0, report_seconds=60.0, cache_seconds=0.0)
    yield dagster
    dagster.close()


@pytest.fixture
def dagster(request: pytest.FixtureRequest) -> Iterator[DagsterHome]:
    """The shared instance, or one of the test's own if the test asks for `dagster_home` or `instance`."""
    if "dagster_home" not in request.fixturenames:
        yield request.getfixturevalue("shared_dagster")
        return
    home = request.getfixturevalue("dagster_home")
    own = DagsterHome(home, read_seconds=60.0, report_seconds=60.0, cache_seconds=0.0)
    yield own
    own.close()


@pytest.fixture
def service_of(database: Database, dagster: DagsterHome, simulator: Simulator) -> ServiceOf:
    """`service_of(**settings)`: a service over the database at hand, the simulator and Dagster.

    It started an hour ago, or as long as `up` says. What is stored beside it is of the simulator's coins.
    """
    database.coins = parse_catalogue(",".join(KNOWN_COINS)).simulated.ids

    def make(up: timedelta = timedelta(hours=1), url: str | None = None, **settings: Any) -> Service:
        chosen = load_settings(None, **{
            "database_url": database.url.render_as_string(hide_password=False),
            "coingecko_base_url": simulator.base_url,
            "coingecko_requests_per_minute": 10_000,
            **settings,
        })
        database.coins = chosen.catalogue.ids
        read = Database(make_url(url)) if url else database
        return Service(chosen, read, dagster, started=utc_now() - up, state_seconds=0.0)

    return make


@pytest.fixture
def api(service_of: ServiceOf) -> Iterator[Callable[..., TestClient]]:
    """`api(**settings)`: a client of an API with these settings, in process; its `app` is there too."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(asking(create_app(service_of(**settings))))


@pytest.fixture
def client(api: Callable[..., TestClient]) -> TestClient:
    """A client of an API with the default settings."""
    return api()


@pytest.fixture
def block_dagster(monkeypatch: pytest.MonkeyPatch) -> Callable[[threading.Event], None]:
    """`block_dagster(released)`: no Dagster instance is opened before the event `released` is set."""

    def block(released: threading.Event) -> None:
        monkeypatch.setattr(
            "market_pipeline.dagster_instance.connection.open_instance",
            lambda *given: released.wait(60) and open_instance(*given),
        )

    return block


@pytest.fixture
def opened(browser: Browser, service_of: ServiceOf) -> Iterator[Opened]:
    """`opened(**settings)`: a tab for the pages of an API with these settings of two symbols."""
    with ExitStack() as running:

        @contextmanager
        def serving(settings: dict[str, Any], options: dict[str, Any]) -> Iterator[Tab]:
            with served(create_app(service_of(**{"market_symbols": "BTC,ETH", **settings}))) as address:
                tab = Tab(browser, address, **options)
                yield tab
                tab.context.close()

        yield lambda options={}, **settings: running.enter_context(serving(settings, options))


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped where there is none.

    Its driver has an event loop in this thread while it runs, which other modules may not find there.
    """
    with chromium() as running:
        yield running

