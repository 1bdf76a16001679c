"""Connections to PostgreSQL: one set of parameters for both drivers, psycopg2 and ADBC.

Both are libpq, which reads a DSN in the same way for both. A URL is not passed on to it: SQLAlchemy and libpq
read URLs differently (a space as +, several hosts).
"""

import os
import socket
from typing import Any

from psycopg2.extensions import connection as Psycopg2Connection
from psycopg2.extensions import cursor as Psycopg2Cursor
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy import URL
from sqlalchemy.dialects.postgresql.psycopg2 import PGDialect_psycopg2

from market_pipeline.storage.silence import Call, require_not_silent, watched

# A server that is gone is noticed within 20 seconds; the system's own patience is two hours. libpq gives
# each address of each host so long to connect. Parameters of the URL win.
_DEFAULTS = {
    "application_name": "market_pipeline", "connect_timeout": 8, "keepalives_idle": 5, "keepalives_interval": 5,
    "keepalives_count": 2, "tcp_user_timeout": 15_000,
}


def parameters_of(url: URL) -> dict[str, Any]:
    """The parameters of libpq for `url`, as psycopg2 takes them."""
    _, given = PGDialect_psycopg2().create_connect_args(url)  # type: ignore[no-untyped-call]
    return {**_DEFAULTS, **given}


def dsn_of(url: URL) -> str:
    """The same as a DSN; holds the password."""
    return str(make_dsn(**parameters_of(url)))


def psycopg2_arguments(url: URL) -> dict[str, Any]:
    """What the engine gives to psycopg2."""
    return {**parameters_of(url), "connection_factory": WatchedConnection, "cursor_factory": _WatchedCursor}


class WatchedConnection(Psycopg2Connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection whose waiting ends with OperationalError if the server goes silent."""

    def __init__(self, dsn: str, *arguments: Any) -> None:
        require_not_silent(dsn)
        super().__init__(dsn, *arguments)
        self.call = Call(_address_of(self, dsn), self._shut_down, self.info.backend_pid)

    def commit(self) -> None:
        """Commit."""
        with watched(self.call):
            super().commit()

    def rollback(self) -> None:
        """Roll back."""
        with watched(self.call):
            super().rollback()

    def _shut_down(self) -> None:
        with socket.socket(fileno=os.dup(self.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


class _WatchedCursor(Psycopg2Cursor):  # type: ignore[misc]  # psycopg2 has no types
    connection: WatchedConnection

    def execute(self, query: Any, vars: Any = None) -> None:
        with watched(self.connection.call):
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        with watched(self.connection.call):
            super().executemany(query, vars_list)


def _address_of(connection: Psycopg2Connection, dsn: str) -> str:
    """The `dsn` of the one host, of several, that `connection` has reached."""
    parameters = parse_dsn(dsn)
    if "," not in parameters.get("host", ""):
        return dsn
    parameters.pop("hostaddr", None)
    return str(make_dsn(**{**parameters, "host": connection.info.host, "port": connection.info.port}))
