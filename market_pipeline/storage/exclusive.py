"""Work on a database that only one process may do at a time, whichever host it is on."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import Connection, text

from market_pipeline.core.file_lock import waiting_for_lock
from market_pipeline.storage.engine import Database

_POLL_SECONDS = 0.5
# The lock ends with its transaction, which may be idle for hours. It belongs to the transaction and not to the
# session, because a connection pooler lends the session to others in between.
_STAY = text("SELECT set_config('idle_in_transaction_session_timeout', '0', true)")
_TRY = text("SELECT pg_try_advisory_xact_lock(hashtextextended(current_schema() || :work, 0))")


@contextmanager
def exclusive(database: Database, work: str, on_wait: Callable[[], None]) -> Iterator[None]:
    """Do `work` in this block alone, after `on_wait` and a wait while another process does it.

    A process that dies gives the lock up. A SQLite file has its lock beside it.
    """
    if database.dialect == "sqlite":
        with waiting_for_lock(Path(f"{database.url.database}-{work}.lock"), on_wait):
            yield
        return
    with database.writing() as connection:
        connection.execute(_STAY)
        if not _locked(connection, work):
            on_wait()
            # Polled: a statement that waits cannot be interrupted, and keeps dead rows from being removed.
            while not _locked(connection, work):
                time.sleep(_POLL_SECONDS)
        yield


def _locked(connection: Connection, work: str) -> bool:
    return bool(connection.execute(_TRY, {"work": work}).scalar_one())
