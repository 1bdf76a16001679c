"""Connections to PostgreSQL: the parameters of both drivers, psycopg2 and ADBC, and a watch for silent servers.

Both drivers use libpq, which reads a DSN in the same way for both. They are not given the URL: SQLAlchemy and
libpq read URLs differently (a space as +, several hosts).

A server, or a proxy before it, may accept what is sent and never answer. One thread looks at the calls that wait:
it asks the server over another connection whether it works on their sessions, and gives up those for which it
does not, or all of them if it does not answer either.
"""

import contextvars
import os
import socket
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, TypeVar

import psycopg2
from psycopg2.extensions import connection as Psycopg2Connection
from psycopg2.extensions import cursor as Psycopg2Cursor
from psycopg2.extensions import make_dsn, parse_dsn
from sqlalchemy import URL

from market_pipeline.storage.db_errors import ReadCancelled

Result = TypeVar("Result")

# A server that is gone is noticed within 20 seconds; the system's own timeout is two hours. libpq gives each
# address of each host so long to connect. Parameters of the URL win.
DEFAULTS: Mapping[str, Any] = {
    "application_name": "market_pipeline", "connect_timeout": 8, "keepalives_idle": 5, "keepalives_interval": 5,
    "keepalives_count": 2, "tcp_user_timeout": 15_000,
}

_QUIET_SECONDS = 5.0
_PROBE_SECONDS = 5.0
# The least that libpq allows, for each address of a host.
_PROBE_CONNECT_SECONDS = 2
_SWEEP_SECONDS = 1.0
# How soon a cancelled read ends.
_CANCEL_SECONDS = 0.1
# No new connections to a silent server for so long: a pool would reconnect at once.
_SHUNNED_SECONDS = 2.0

# Of a process; poolers such as PgBouncer report random numbers of 32 bits instead.
_LARGEST_PID = 2**22
_IDLE = "SELECT pid FROM pg_stat_activity WHERE pid = ANY(%s) AND state LIKE 'idle%%'"


def parameters_of(url: URL) -> dict[str, Any]:
    """Return the parameters of libpq for `url`, as psycopg2 takes them."""
    _, given = url.get_dialect()().create_connect_args(url)
    return {**DEFAULTS, **given}


def dsn_of(url: URL) -> str:
    """Return the same parameters as a DSN; it holds the password."""
    return str(make_dsn(**parameters_of(url)))


def psycopg2_arguments(url: URL) -> dict[str, Any]:
    """Return the arguments with which the engine calls psycopg2."""
    return {**parameters_of(url), "connection_factory": _WatchedConnection, "cursor_factory": _WatchedCursor}


class ServerSilent(psycopg2.OperationalError):  # type: ignore[misc]  # psycopg2 has no types
    """The server has not answered, here or over another connection."""

    def __init__(self) -> None:
        super().__init__("the server, or a proxy before it, accepts connections and does not answer")


@dataclass(eq=False)
class Call:
    """A call that waits for the server at `address`, a DSN, in its session number `session` if that is known.

    `give_up` makes it return; it may be called when the call has just ended. `abandoned` is set when the caller
    no longer waits, and must not see a write appear later.
    """

    address: str
    give_up: Callable[[], None]
    session: int | None = None
    next_look: float = 0.0
    suspected: bool = False
    silent: bool = False
    abandoned: bool = False


def in_own_thread(address: str, work: Callable[[Call], Result], cancelled: threading.Event | None = None) -> Result:
    """Return what `work` returns: for a driver whose calls cannot be interrupted; their thread is abandoned.

    Raises ServerSilent, or ReadCancelled once `cancelled` is set, while the work still runs.
    """
    _require_not_silent(address)
    future: Future[Result] = Future()
    ended = threading.Event()
    call = Call(address, ended.set)
    context = contextvars.copy_context()

    def run() -> None:
        try:
            future.set_result(context.run(work, call))
        # The caller raises it.
        except BaseException as error:
            future.set_exception(error)

    future.add_done_callback(lambda _: ended.set())
    with _watched(call):
        threading.Thread(target=run, name="bulk", daemon=True).start()
        try:
            while not ended.wait(None if cancelled is None else _CANCEL_SECONDS):
                if cancelled is not None and cancelled.is_set():
                    break
        finally:
            call.abandoned = not future.done()
        if call.abandoned:
            raise ReadCancelled("The read was cancelled.")
        return future.result()


class _WatchedConnection(Psycopg2Connection):  # type: ignore[misc]  # psycopg2 has no types
    """A connection whose calls end with OperationalError if the server goes silent."""

    def __init__(self, dsn: str, *arguments: Any) -> None:
        _require_not_silent(dsn)
        super().__init__(dsn, *arguments)
        self.call = Call(_address_of(self, dsn), self._shut_down, self.info.backend_pid)

    def commit(self) -> None:
        with _watched(self.call):
            super().commit()

    def rollback(self) -> None:
        with _watched(self.call):
            super().rollback()

    def _shut_down(self) -> None:
        with socket.socket(fileno=os.dup(self.fileno())) as same:
            same.shutdown(socket.SHUT_RDWR)


class _WatchedCursor(Psycopg2Cursor):  # type: ignore[misc]  # psycopg2 has no types
    connection: _WatchedConnection

    def execute(self, query: Any, vars: Any = None) -> None:
        with _watched(self.connection.call):
            super().execute(query, vars)

    def executemany(self, query: Any, vars_list: Any) -> None:
        with _watched(self.connection.call):
            super().executemany(query, vars_list)


def _address_of(connection: Psycopg2Connection, dsn: str) -> str:
    """Return the `dsn` of the one host, of several, that `connection` has reached."""
    parameters = parse_dsn(dsn)
    if "," not in parameters.get("host", ""):
        return dsn
    parameters.pop("hostaddr", None)
    return str(make_dsn(**{**parameters, "host": connection.info.host, "port": connection.info.port}))


_calls: dict[int, Call] = {}
_silent_since: dict[str, float] = {}
_starting = threading.Lock()
_watcher: threading.Thread | None = None


@contextmanager
def _watched(call: Call) -> Iterator[None]:
    """Watch `call` during the block: ServerSilent replaces the driver's error if it was given up."""
    if _watcher is None or not _watcher.is_alive():
        _start()
    call.next_look, call.suspected = time.monotonic() + _QUIET_SECONDS, False
    _calls[id(call)] = call
    try:
        yield
    except Exception:
        if call.silent:
            raise ServerSilent from None
        raise
    finally:
        del _calls[id(call)]


def _require_not_silent(address: str) -> None:
    """Raise ServerSilent if the server at `address` was found silent just now."""
    if time.monotonic() - _silent_since.get(address, float("-inf")) < _SHUNNED_SECONDS:
        raise ServerSilent


def _start() -> None:
    global _watcher
    with _starting:
        if _watcher is None or not _watcher.is_alive():
            _watcher = threading.Thread(target=_watch, name="silence", daemon=True)
            _watcher.start()


def _watch() -> None:
    while True:
        time.sleep(_SWEEP_SECONDS)
        due: dict[str, list[Call]] = defaultdict(list)
        for call in list(_calls.values()):
            if call.next_look <= time.monotonic():
                due[call.address].append(call)
        for address, calls in due.items():
            idle = _idle_sessions(address, [call.session for call in calls if call.session])
            if idle is None:
                _silent_since[address] = time.monotonic()
            for call in calls:
                _judge(call, idle)


def _judge(call: Call, idle: set[int] | None) -> None:
    """Give `call` up if the server is silent, or idle twice in a row: an answer may be on its way."""
    if call.next_look > time.monotonic():
        # Another call on the same connection, begun after the probe.
        return
    is_idle = idle is not None and call.session in idle
    if id(call) in _calls and (idle is None or (is_idle and call.suspected)):
        call.silent = True
        with suppress(psycopg2.Error, OSError):
            call.give_up()
    call.suspected = is_idle
    call.next_look = time.monotonic() + (_SWEEP_SECONDS if is_idle else _QUIET_SECONDS)


def _idle_sessions(address: str, sessions: Sequence[int]) -> set[int] | None:
    """Return those of `sessions` for which the server does nothing; None if it does not answer in time."""
    answers: SimpleQueue[set[int]] = SimpleQueue()

    def probe() -> None:
        found: set[int] = set()
        try:
            connection = psycopg2.connect(address, connect_timeout=_PROBE_CONNECT_SECONDS)
            try:
                # A pooler whose connections are all in use lets statements wait.
                if 0 < connection.info.backend_pid <= _LARGEST_PID:
                    with connection.cursor() as cursor:
                        cursor.execute(_IDLE, (list(sessions),))
                        found = {session for (session,) in cursor}
            finally:
                connection.close()
        except psycopg2.OperationalError as error:
            if "timeout expired" in str(error):
                return
        except psycopg2.Error:
            pass
        # A refusal is an answer too.
        answers.put(found)

    threading.Thread(target=probe, name="silence probe", daemon=True).start()
    with suppress(Empty):
        return answers.get(timeout=_PROBE_SECONDS)
    return None
