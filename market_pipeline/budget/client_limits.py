"""The API's limit of changes (collects and marks) per client: a sliding window, shared by all workers.

Nothing is sent to CoinGecko here, so neither the request budget nor the ledger is involved.
"""

from datetime import timedelta
from urllib.parse import quote

from sqlalchemy import Connection, delete, func, insert, select

from market_pipeline.core.clock import from_microseconds
from market_pipeline.storage.database_clock import DatabaseClock, database_clock
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import client_requests

REQUESTS = 100
WINDOW_SECONDS = 60

_WINDOW = timedelta(seconds=WINDOW_SECONDS)
# An address takes 45 characters; anything else that a proxy reports must fit into the column.
_LONGEST_NAME = 150
_COLUMNS = client_requests.c


class ClientLimit:
    """Admits `REQUESTS` requests of each client in any `WINDOW_SECONDS`; may be shared by threads.

    A refused request does not count. Time is the database's.
    """

    def __init__(self, database: Database, *, clock: DatabaseClock = database_clock) -> None:
        self._database = database
        self._clock = clock
        self._cleaned_at = 0

    def admit(self, client: str) -> float:
        """Admit and count a request of `client`; return 0, or in how many seconds the next one will be admitted.

        Raises a StorageError or a SQLAlchemyError if the database fails.
        """
        name = quote(client, safe=".:", errors="replace")[:_LONGEST_NAME]
        # Without a lock first: a refused client that retries must not block writers.
        with self._database.reading() as connection:
            wait = _wait(connection, name, self._clock(connection))
        if wait:
            return wait
        with self._database.writing(client_requests) as connection:
            if connection.dialect.name == "postgresql":
                # SQLite has one writer at a time anyway.
                connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended(f"client {name}", 0))))
            now = self._clock(connection)
            wait = _wait(connection, name, now)
            if not wait:
                connection.execute(insert(client_requests).values(client=name, admitted_at=from_microseconds(now)))
        self._delete_expired(now)
        return wait

    def _delete_expired(self, now: int) -> None:
        """Delete requests that have left the window, at most once per window."""
        expired = from_microseconds(now) - _WINDOW
        if from_microseconds(self._cleaned_at) > expired:
            return
        self._cleaned_at = now
        with self._database.writing(client_requests) as connection:
            connection.execute(delete(client_requests).where(_COLUMNS.admitted_at <= expired))


def _wait(connection: Connection, name: str, now: int) -> float:
    """Return the seconds until the window has room for one more request, 0 if it has."""
    moment = from_microseconds(now)
    # If so many requests are in the window, the oldest of them makes room when it leaves. After the clock was set
    # back, later ones do not count.
    blocking = (
        select(_COLUMNS.admitted_at)
        .where(_COLUMNS.client == name, _COLUMNS.admitted_at > moment - _WINDOW, _COLUMNS.admitted_at <= moment)
        .order_by(_COLUMNS.admitted_at.desc())
        .offset(REQUESTS - 1)
        .limit(1)
    )
    admitted_at = connection.execute(blocking).scalar()
    return 0.0 if admitted_at is None else (admitted_at + _WINDOW - moment).total_seconds()
