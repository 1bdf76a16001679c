"""The connection to the database: one `Database` for SQLite and PostgreSQL alike.

A reader sees one state of the database and never waits for a writer; a writer holds one transaction.
SQLite runs in WAL mode, and its writers take the lock at BEGIN, because a transaction that reads
first and writes later fails at once when another writer came between.
"""

import os
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.exc import DBAPIError, InvalidatePoolError, OperationalError

from market_pipeline.core.symbols import KNOWN_COINS, UNKNOWN_COIN
from market_pipeline.logs.redaction import Masker
from market_pipeline.storage.db_errors import DatabaseUnavailable, WriteFailed, sentences

# So many threads at the same time get a connection, and it stays open: SQLAlchemy's own numbers, but for its
# closing those above five after each use and opening them again.
POOL: dict[str, Any] = {"pool_size": 15, "max_overflow": 0}

BUSY_SECONDS = 30
# First of all the patience: the change to WAL may have to wait for another process that makes it.
_PRAGMAS = (
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    # A WAL that grew behind a long reader is cut once the reader is gone; SQLite would keep its size for reuse.
    "PRAGMA journal_size_limit=67108864",
)


def sqlite_engine(url: URL, begin: str) -> Engine:
    """Connections to the SQLite file of `url` whose transactions start with the statement `begin`.

    They are to the file that has this name now: restored from a backup or begun anew, it is another one.
    """
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True, **POOL)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        # The driver must not begin transactions by itself: it does so too late.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        record.info["file"] = _file_of(url)

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, proxy: Any) -> None:
        # An open file lives on under another one's name, and would be read and written for ever.
        if record.info["file"] != _file_of(url):
            raise InvalidatePoolError

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _file_of(url: URL) -> tuple[int, int] | None:
    """What tells the file from others that have or had its name; None if there is none."""
    try:
        found = os.stat(url.database or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino


# What statements call the file that a connection was given beside its own.
EXCHANGE = "exchange"


class Database:
    """The database at `url` (sqlite or postgresql+psycopg2). Connects when first used.

    `coins` maps each symbol to the id of its coin: what is stored of a symbol under another id is of
    another coin, and no query returns it.

    Connections raise DatabaseUnavailable if the database cannot be reached or opened, or if a SQLite
    file stays locked by another writer for half a minute.
    """

    def __init__(self, url: URL, coins: Mapping[str, str] = KNOWN_COINS) -> None:
        self.url = url
        self.coins = coins
        self.dialect = url.get_backend_name()
        self._engines: list[Engine] = []
        # What nobody disposed of is closed with its owner: Python 3.13 warns of connections that are not.
        weakref.finalize(self, _dispose, self._engines).atexit = False

    def __repr__(self) -> str:
        return f"Database({self.url})"

    def coin_id(self, symbol: str) -> str:
        """The id of the coin that `symbol` stands for."""
        return self.coins.get(symbol, UNKNOWN_COIN)

    @contextmanager
    def reading(self, attached: Path | None = None) -> Iterator[Connection]:
        """A connection that sees one state of the database and takes no write lock.

        `attached`, an SQLite file, can be named in statements as `EXCHANGE`, and written.
        """
        with self._transaction(self._readers, attached) as connection:
            yield connection

    @contextmanager
    def writing(self, table: Table | None = None, attached: Path | None = None) -> Iterator[Connection]:
        """Open one transaction: committed when the block ends, rolled back if it raises.

        With `table` any error of the driver becomes WriteFailed, which names the table and no rows.
        """
        try:
            with self._transaction(self._writers, attached) as connection:
                yield connection
        except DBAPIError as error:
            if table is None:
                raise
            raise write_failed(self, table, str(error.orig)) from None

    def dispose(self) -> None:
        """Close the pooled connections; the Database stays usable."""
        for name in ("_readers", "_writers"):
            self.__dict__.pop(name, None)
        _dispose(self._engines)

    def without_password(self, text: str) -> str:
        """`text`, a driver's words, with the password hidden in whatever spelling they repeat it."""
        return self._masker.text(text)

    @cached_property
    def _masker(self) -> Masker:
        return Masker([str(self.url.password)] if self.url.password else [])

    @cached_property
    def _readers(self) -> Engine:
        if self.dialect == "sqlite":
            return self._opened(sqlite_engine(self.url, "BEGIN"))
        return self._writers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @cached_property
    def _writers(self) -> Engine:
        if self.dialect == "sqlite":
            return self._opened(sqlite_engine(self.url, "BEGIN IMMEDIATE"))
        from market_pipeline.storage.postgresql import psycopg2_arguments

        arguments = psycopg2_arguments(self.url)
        return self._opened(
            create_engine(self.url, connect_args=arguments, pool_pre_ping=True, hide_parameters=True, **POOL)
        )

    def _opened(self, engine: Engine) -> Engine:
        self._engines.append(engine)
        return engine

    @contextmanager
    def _transaction(self, engine: Engine, attached: Path | None) -> Iterator[Connection]:
        with self._connect(engine) as connection, _attaching(connection, attached):
            try:
                transaction = connection.begin()
            except OperationalError as error:
                raise DatabaseUnavailable(self._explain(error)) from None
            try:
                with transaction:
                    yield connection
            except DBAPIError as error:
                # Nor does a driver's error that repeats the password leave the storage.
                if error.connection_invalidated or self.without_password(str(error)) != str(error):
                    raise DatabaseUnavailable(self._explain(error)) from None
                raise

    def _connect(self, engine: Engine) -> Connection:
        try:
            return engine.connect()
        except DBAPIError as error:
            raise DatabaseUnavailable(self._explain(error)) from None

    def _explain(self, error: DBAPIError) -> str:
        why = self.without_password(str(error.orig))
        if self.dialect == "sqlite":
            folder = Path(self.url.database or "").parent
            if not folder.is_dir():
                why = f"the folder {folder} does not exist"
            elif not os.access(folder, os.W_OK | os.X_OK):
                why = f"the folder {folder} cannot be written by this user, and SQLite keeps files beside its own there"
            elif "locked" in why:
                why = f"another writer has held its lock for {BUSY_SECONDS} s; wait for it or end it"
            return f"The SQLite file {self.url.database} cannot be opened: {sentences(why)} DATABASE_URL names it."
        several = self.url.query.get("host", "localhost")
        hosts = several if isinstance(several, str) else " or ".join(several)
        where = f"{self.url.host}:{self.url.port or 5432}" if self.url.host else hosts
        name = f"PostgreSQL database {self.url.database} at {where}"
        return f"{name} cannot be reached: {sentences(why)} DATABASE_URL names it."


def _dispose(engines: list[Engine]) -> None:
    while engines:
        engines.pop().dispose()


@contextmanager
def _attaching(connection: Connection, file: Path | None) -> Iterator[None]:
    """`file` beside the connection's own; SQLite allows that only outside a transaction.

    If anything goes wrong the file is thrown away, so nothing is done to keep it whole.
    """
    if file is None:
        yield
        return
    driver: Any = connection.connection.driver_connection
    driver.execute(f"ATTACH ? AS {EXCHANGE}", (str(file),))
    for pragma in ("journal_mode=OFF", "synchronous=OFF"):
        driver.execute(f"PRAGMA {EXCHANGE}.{pragma}").fetchall()
    try:
        yield
    finally:
        driver.execute(f"DETACH {EXCHANGE}")


def write_failed(database: Database, table: Table, why: str) -> WriteFailed:
    """The error for a write to `table` that failed for the reason `why`, in the driver's words."""
    told = database.without_password(" ".join(why.split()))
    return WriteFailed(f"{table.name}: the database refused the rows: {told}. Nothing was written.")
