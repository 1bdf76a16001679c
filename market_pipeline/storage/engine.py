"""The connection to the database: one `Database` for SQLite and PostgreSQL alike.

A reader sees a snapshot and never waits for a writer; a writer holds one transaction. SQLite runs
in WAL mode, and its writers take the lock at BEGIN, because a transaction that reads first and
writes later fails at once when another writer came between.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import OperationalError

from market_pipeline.storage.errors import DatabaseUnavailable

BUSY_SECONDS = 30
_CONNECT_SECONDS = 10
_PRAGMAS = ("PRAGMA journal_mode=WAL", f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}", "PRAGMA synchronous=NORMAL")


class Database:
    """The database at `url` (sqlite or postgresql+psycopg2). Connects when first used."""

    def __init__(self, url: URL) -> None:
        self.url = url
        self.dialect = url.get_backend_name()

    def __repr__(self) -> str:
        return f"Database({self.url})"

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection that sees one state of the database and takes no write lock."""
        with self._connect(self._readers) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """One transaction: committed when the block ends, rolled back if it raises."""
        with self._connect(self._writers) as connection, connection.begin():
            yield connection

    def dispose(self) -> None:
        """Close the pooled connections; the Database stays usable."""
        for name in ("_readers", "_writers"):
            if name in self.__dict__:
                self.__dict__.pop(name).dispose()

    @cached_property
    def _readers(self) -> Engine:
        return self._engine("BEGIN")

    @cached_property
    def _writers(self) -> Engine:
        return self._engine("BEGIN IMMEDIATE") if self.dialect == "sqlite" else self._readers

    def _engine(self, begin: str) -> Engine:
        if self.dialect != "sqlite":
            arguments = {"application_name": "market_pipeline", "connect_timeout": _CONNECT_SECONDS}
            return create_engine(self.url, connect_args=arguments, pool_pre_ping=True, hide_parameters=True)
        engine = create_engine(self.url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True)

        @event.listens_for(engine, "connect")
        def prepare(connection: Any, record: Any) -> None:
            # The driver must not begin transactions by itself: it does so too late.
            connection.isolation_level = None
            for pragma in _PRAGMAS:
                connection.execute(pragma)

        @event.listens_for(engine, "begin")
        def start(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return engine

    def _connect(self, engine: Engine) -> Connection:
        try:
            return engine.connect()
        except OperationalError as error:
            raise DatabaseUnavailable(self._explain(error)) from None

    def _explain(self, error: OperationalError) -> str:
        if self.dialect == "sqlite":
            folder = Path(self.url.database or "").parent
            why = str(error.orig) if folder.is_dir() else f"the folder {folder} does not exist"
            return f"The SQLite file {self.url.database} cannot be opened: {why}. Check DATABASE_URL."
        where = f"{self.url.host or self.url.query.get('host', 'localhost')}:{self.url.port or 5432}"
        why = str(error.orig).strip().replace("\n", " ")
        return f"PostgreSQL database {self.url.database} at {where} cannot be reached: {why}. Check DATABASE_URL."
