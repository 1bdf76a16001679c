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
from market_pipeline.storage.db_errors import DatabaseUnavailable, WriteFailed, WriteForbidden, sentences

# As many connections as SQLAlchemy allows by default, but all of them stay open: by default those above five are
# closed after each use and opened again.
POOL: dict[str, Any] = {"pool_size": 15, "max_overflow": 0}

BUSY_SECONDS = 30
_PRAGMAS = (
    # busy_timeout first: switching to WAL may itself wait for a lock.
    f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}",
    "PRAGMA journal_mode=WAL",
    "PRAGMA synchronous=NORMAL",
    # Truncate a WAL that grew behind a long reader; by default SQLite leaves it at its size for reuse.
    "PRAGMA journal_size_limit=67108864",
)

# SQLSTATEs: insufficient privilege; a transaction that may only read; on a replica, one that asks to write.
_FORBIDDEN = ("42501", "25006", "0A000")

# The schema name, in statements, of a file attached to a connection.
EXCHANGE = "exchange"


class Database:
    """The database at `url` (sqlite or postgresql+psycopg2). Connects when first used.

    `coins` maps each symbol to the id of its coin: rows of a symbol under another id belong to another
    coin, and no query returns them. Errors name the `setting` that the URL comes from.

    Connections raise DatabaseUnavailable if the database cannot be reached or opened, or if a SQLite
    file stays locked by another writer for half a minute.
    """

    def __init__(self, url: URL, coins: Mapping[str, str] = KNOWN_COINS, setting: str = "DATABASE_URL") -> None:
        self.url = url
        self.coins = coins
        self._setting = setting
        self.dialect = url.get_backend_name()
        self._engines: list[Engine] = []
        # Close the connections of a Database that is garbage collected: Python 3.13 warns of unclosed ones.
        weakref.finalize(self, _dispose, self._engines).atexit = False

    def __repr__(self) -> str:
        return f"Database({self.url})"

    def coin_id(self, symbol: str) -> str:
        """Return the id of the coin that `symbol` represents."""
        return self.coins.get(symbol, UNKNOWN_COIN)

    @contextmanager
    def reading(self, attached: Path | None = None) -> Iterator[Connection]:
        """Open a connection that sees one state of the database and takes no write lock.

        Statements can name `attached`, a SQLite file, as `EXCHANGE`, and write to it.
        """
        with self._transaction(self._readers, attached) as connection:
            yield connection

    @contextmanager
    def writing(self, table: Table | None = None, attached: Path | None = None) -> Iterator[Connection]:
        """Open one transaction: committed when the block ends, rolled back if it raises.

        With `table` any error of the driver becomes WriteFailed, which names the table and no rows, or WriteForbidden
        where this role or server of PostgreSQL may only read.
        """
        try:
            with self._transaction(self._writers, attached) as connection:
                yield connection
        except DBAPIError as error:
            if table is None:
                raise
            forbidden = getattr(error.orig, "pgcode", None) in _FORBIDDEN
            kind = WriteForbidden if forbidden else WriteFailed
            raise self.write_failed(table, str(error.orig), kind) from None

    def dispose(self) -> None:
        """Close the pooled connections; the Database stays usable."""
        for name in ("_readers", "_writers"):
            self.__dict__.pop(name, None)
        _dispose(self._engines)

    def without_password(self, message: str) -> str:
        """Mask the password in a driver's `message`, in every spelling in which drivers repeat it."""
        return self._masker.text(message)

    def write_failed(self, table: Table, reason: str, kind: type[WriteFailed] = WriteFailed) -> WriteFailed:
        """Make the error for a write to `table` that the driver refused with the message `reason`."""
        masked = sentences(self.without_password(reason))
        return kind(f"{table.name}: the database refused the rows: {masked} Nothing was written.")

    @cached_property
    def _masker(self) -> Masker:
        return Masker([str(self.url.password)] if self.url.password else [])

    @cached_property
    def _readers(self) -> Engine:
        if self.dialect == "sqlite":
            return self._opened(_sqlite_engine(self.url, "BEGIN"))
        return self._writers.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    @cached_property
    def _writers(self) -> Engine:
        if self.dialect == "sqlite":
            return self._opened(_sqlite_engine(self.url, "BEGIN IMMEDIATE"))
        # Imported here: psycopg2 is not needed for SQLite.
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
                # A driver's error that repeats the password must not leave the storage either.
                if error.connection_invalidated or self.without_password(str(error)) != str(error):
                    raise DatabaseUnavailable(self._explain(error)) from None
                raise

    def _connect(self, engine: Engine) -> Connection:
        try:
            return engine.connect()
        except DBAPIError as error:
            raise DatabaseUnavailable(self._explain(error)) from None

    def _explain(self, error: DBAPIError) -> str:
        reason = self.without_password(str(error.orig))
        if self.dialect == "sqlite":
            folder = Path(self.url.database or "").parent
            if not folder.is_dir():
                reason = f"the folder {folder} does not exist"
            elif not os.access(folder, os.W_OK | os.X_OK):
                reason = f"the folder {folder} cannot be written by this user, and SQLite creates files in it"
            elif "locked" in reason:
                reason = f"another writer has held its lock for {BUSY_SECONDS} s; wait for it or end it"
            file = f"The SQLite file {self.url.database}"
            return f"{file} cannot be opened: {sentences(reason)} {self._setting} names it."
        several = self.url.query.get("host", "localhost")
        hosts = several if isinstance(several, str) else " or ".join(several)
        where = f"{self.url.host}:{self.url.port or 5432}" if self.url.host else hosts
        name = f"PostgreSQL database {self.url.database} at {where}"
        return f"{name} cannot be reached: {sentences(reason)} {self._setting} names it."


def _sqlite_engine(url: URL, begin: str) -> Engine:
    """Make an engine for the SQLite file of `url` whose transactions start with the statement `begin`.

    A pooled connection is dropped once another file has taken the name: a restored backup, or a new database.
    """
    engine = create_engine(url, connect_args={"timeout": BUSY_SECONDS}, hide_parameters=True, **POOL)

    @event.listens_for(engine, "connect")
    def prepare(connection: Any, record: Any) -> None:
        # The driver must not begin transactions by itself: it does so too late.
        connection.isolation_level = None
        for pragma in _PRAGMAS:
            connection.execute(pragma)
        record.info["file"] = _identity_of(url)

    @event.listens_for(engine, "checkout")
    def check(connection: Any, record: Any, proxy: Any) -> None:
        if record.info["file"] != _identity_of(url):
            # The database file was replaced; this handle points at the deleted one.
            raise InvalidatePoolError

    @event.listens_for(engine, "begin")
    def start(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _identity_of(url: URL) -> tuple[int, int] | None:
    """Identify the file itself, whatever its name; None if there is none."""
    try:
        found = os.stat(url.database or "")
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _dispose(engines: list[Engine]) -> None:
    while engines:
        engines.pop().dispose()


@contextmanager
def _attaching(connection: Connection, file: Path | None) -> Iterator[None]:
    """Attach `file` to the connection; SQLite allows that only outside a transaction.

    The file is temporary, so it is written without a journal.
    """
    if file is None:
        yield
        return
    driver: Any = connection.connection.driver_connection
    try:
        driver.execute(f"ATTACH ? AS {EXCHANGE}", (str(file),))
        for pragma in ("journal_mode=OFF", "synchronous=OFF"):
            driver.execute(f"PRAGMA {EXCHANGE}.{pragma}").fetchall()
        yield
        driver.execute(f"DETACH {EXCHANGE}")
    except BaseException:
        # The file may be attached still, as after an interrupt: the pool must not hand this connection out again.
        connection.invalidate()
        raise
