"""Connections that stay open: how many, and what SQLite's have to be told."""

import os
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.exc import InvalidatePoolError

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
