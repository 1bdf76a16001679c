"""A lock for work on a database that only one process, on any host, may do at a time."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from market_pipeline.core.file_lock import waiting_for_lock
from market_pipeline.storage.engine import Database

_POLL_SECONDS = 0.5
# The lock belongs to the transaction, which may be idle for hours, and not to the session: a connection pooler
# lends the session to others in between.
_NO_IDLE_TIMEOUT = text("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || :work, 0))")


@contextmanager
def exclusive(database: Database, work: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Hold the lock for `work` during the block; if another process holds it, call `on_wait` and wait.

    The lock of a process that dies is released. For SQLite it is a file beside the database.
    """
    if database.dialect == "sqlite":
        with waiting_for_lock(Path(f"{database.url.database}-{work}.lock"), on_wait):
            yield
        return
    with database.writing() as connection:
        connection.execute(_NO_IDLE_TIMEOUT)
        if not _locked(connection, work):
            on_wait()
            # Polled: a waiting statement cannot be interrupted, and prevents VACUUM from removing dead rows.
            while not _locked(connection, work):
                time.sleep(_POLL_SECONDS)
        yield


def _locked(connection: Connection, work: str) -> bool:
    return bool(connection.execute(_TRY, {"work": work}).scalar_one())
