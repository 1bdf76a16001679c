"""Connections to Dagster's event log in SQLite that stay open between events.

Dagster 1.13 creates an engine, opens a connection and compiles its statements anew for every event: about half of the
CPU time of a tick, and of creating a run of many partitions. Engines are kept per storage, as many as a run needs: one
for its own file, one for the index.
"""

import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partialmethod
from typing import TYPE_CHECKING

from sqlalchemy import Connection, Engine, create_engine

if TYPE_CHECKING:
    from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage

_STORAGE = "dagster._core.storage.event_log.sqlite.sqlite_event_log"
_ENGINES = "_market_pipeline_engines"
_MOST_ENGINES = 4
_BUSY_SECONDS = 30  # as in the storage


def keep_event_log_connections() -> None:
    """Let the SQLite event logs of this process reuse their connections.

    Call it when the instance is open: a process without one need not pay for importing the storage.
    """
    if module := sys.modules.get(_STORAGE):
        storage = module.SqliteEventLogStorage
        if storage._connect is not _connect:
            storage._connect, storage.dispose = _connect, partialmethod(_dispose, storage.dispose)


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
