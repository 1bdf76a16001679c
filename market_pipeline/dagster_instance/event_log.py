"""Connections to Dagster's storage that stay open between events.

On SQLite Dagster 1.13 creates an engine, opens a connection and compiles its statements anew for every event: about
half of the CPU time of a tick, and of creating a run of many partitions. Engines are kept per storage, as many as a run
needs: one for its own file, one for the index.

On PostgreSQL it opens two sessions for every event, 90 in a tick, each of which is a process of the server. One is kept
per storage of runs and of events, and closed with it.

On both, whether a table or a column exists is asked before many reads and writes; a table that is there stays.
"""

import os
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partialmethod, wraps
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, Engine, NullPool, create_engine

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
    from dagster_postgres.event_log.event_log import PostgresEventLogStorage
    from dagster_postgres.run_storage.run_storage import PostgresRunStorage

_SQLITE = "dagster._core.storage.event_log.sqlite.sqlite_event_log"
_POSTGRESQL = "dagster_postgres.storage"
_EXISTING = "_market_pipeline_existing"
_PROCESS = "_market_pipeline_process"
_ENGINES = "_market_pipeline_engines"
_MOST_ENGINES = 4
_BUSY_SECONDS = 30  # as in the storage


def keep_event_log_connections() -> None:
    """Let the event logs of this process, and the run storage in PostgreSQL, reuse their connections.

    Call it when the instance is open: a process without one need not pay for importing the storage.
    """
    if module := sys.modules.get(_POSTGRESQL):
        _remember_what_exists(module.PostgresEventLogStorage)
        module.PostgresEventLogStorage._connect = module.PostgresRunStorage.connect = _connect_to_server
        for storage in (module.PostgresEventLogStorage, module.PostgresRunStorage):
            if not isinstance(vars(storage).get("dispose"), partialmethod):
                storage.dispose = partialmethod(_dispose_of_session, storage.dispose)
    if module := sys.modules.get(_SQLITE):
        storage = module.SqliteEventLogStorage
        _remember_what_exists(storage)
        if storage._connect is not _connect:
            storage._connect, storage.dispose = _connect, partialmethod(_dispose, storage.dispose)


def _remember_what_exists(storage: Any) -> None:
    """Let a storage ask for each table and column only until it is there."""
    for name in ("has_table", "has_asset_key_col", "_has_asset_key_col_on_connection"):
        stock = getattr(storage, name)
        if not hasattr(stock, "__wrapped__"):
            setattr(storage, name, _remembering(stock))


def _remembering(stock: Callable[..., bool]) -> Callable[..., bool]:
    @wraps(stock)
    def exists(self: object, *arguments: Any) -> bool:
        # The last argument is the name; a connection may come before it.
        known, sought = self.__dict__.setdefault(_EXISTING, set()), (stock.__name__, arguments[-1])
        if sought not in known and stock(self, *arguments):
            known.add(sought)
        return sought in known

    return exists


@contextmanager
def _connect(self: "SqliteEventLogStorage", shard: str) -> Iterator[Connection]:
    # The lock is held while the connection is in use, as in the method that this replaces.
    with self._db_lock:
        engine = _engine(self, shard)
        if shard not in self._initialized_dbs:
            self._initdb(engine)
            self._initialized_dbs.add(shard)
        with engine.begin() as connection:
            yield connection


def _engine(storage: "SqliteEventLogStorage", shard: str) -> Engine:
    engines: OrderedDict[str, Engine] = storage.__dict__.setdefault(_ENGINES, OrderedDict())
    if shard not in engines:
        engines[shard] = create_engine(storage.conn_string_for_shard(shard), connect_args={"timeout": _BUSY_SECONDS})
    engines.move_to_end(shard)
    while len(engines) > _MOST_ENGINES:
        engines.popitem(last=False)[1].dispose()
    return engines[shard]


def _dispose(self: "SqliteEventLogStorage", stop_watching: Callable[["SqliteEventLogStorage"], None]) -> None:
    stop_watching(self)
    for engine in self.__dict__.pop(_ENGINES, {}).values():
        engine.dispose()


def _connect_to_server(self: "PostgresEventLogStorage | PostgresRunStorage") -> AbstractContextManager[Connection]:
    from dagster_postgres.utils import create_pg_connection, create_pg_engine

    known = self.__dict__.setdefault(_PROCESS, os.getpid())
    # The webserver has pools of its own.
    if isinstance(self._engine.pool, NullPool):
        self._engine = create_pg_engine(
            self.postgres_url,
            self._token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=1,
            max_overflow=-1,
            # The server may have been restarted since.
            pool_pre_ping=True,
        )
    elif known != os.getpid():
        # The sessions of the process that this one was forked from are not its own.
        self._engine.dispose(close=False)
    self.__dict__[_PROCESS] = os.getpid()
    return create_pg_connection(self._engine)


def _dispose_of_session(
    self: "PostgresEventLogStorage | PostgresRunStorage",
    stop_watching: "Callable[[PostgresEventLogStorage | PostgresRunStorage], None]",
) -> None:
    stop_watching(self)
    self._engine.dispose()
