"""How often one client may ask for new prices: a moving window for each, the same in every worker of the API.

Each client has a row of its own among the budgets, and the same rules; the ledger knows nothing of it,
because nothing is sent to CoinGecko here.
"""

from urllib.parse import quote

from sqlalchemy import text

from market_pipeline.budget import records, rules
from market_pipeline.budget.rules import SECOND, State
from market_pipeline.storage.database_clock import DatabaseClock, database_clock
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.operations_tables import request_budgets

REQUESTS = 100
WINDOW_SECONDS = 60

_WINDOW = WINDOW_SECONDS * SECOND
_DAY = 86_400 * SECOND
_HOUR = 3_600 * SECOND
# An address takes 45 characters; whatever a proxy may say instead must fit into the column.
_LONGEST_NAME = 150

# When a client was last seen.
_LAST = {
    "sqlite": "json_extract(granted, '$[#-1]')",
    "postgresql": "CAST(granted->>-1 AS bigint)",
}


class ClientLimit:
    """Admits `REQUESTS` requests of each client in any `WINDOW_SECONDS`; may be shared by threads.

    What is refused does not count. Time is the database's. Clients that were not seen for a day are
    forgotten, now and then.
    """

    def __init__(self, database: Database, *, clock: DatabaseClock = database_clock) -> None:
        self._database = database
        self._clock = clock
        self._forgot_at = 0

    def admit(self, client: str) -> float:
        """0 if a request of `client` is admitted, which then counts; else in how many seconds one will be.

        Raises a StorageError or a SQLAlchemyError if the database fails.
        """
        name = f"client {quote(client, safe='.:', errors='replace')[:_LONGEST_NAME]}"
        # Whoever keeps asking in vain must not keep others from writing.
        with self._database.reading() as connection:
            wait = _wait(records.load(connection, name), self._clock(connection))
        if wait:
            return wait
        with self._database.writing(request_budgets) as connection:
            stored = records.load_for_update(connection, name)
            now = self._clock(connection)
            wait = _wait(stored, now)
            if not wait:
                records.save(connection, name, rules.granted(rules.brought_to(stored, now), now, "", 0))
        if now - self._forgot_at > _HOUR:
            self._forgot_at = now
            self._forget(now - _DAY)
        return wait

    def _forget(self, before: int) -> None:
        last = _LAST[self._database.dialect]
        statement = text(f"DELETE FROM request_budgets WHERE account LIKE 'client %' AND {last} < :before")
        with self._database.writing(request_budgets) as connection:
            connection.execute(statement, {"before": before})


def _wait(state: State, now: int) -> float:
    """Seconds until the window has room for one more, 0 if it has."""
    recent = [at for at in rules.brought_to(state, now).granted if at > now - _WINDOW]
    return 0.0 if len(recent) < REQUESTS else (recent[-REQUESTS] + _WINDOW - now) / SECOND
