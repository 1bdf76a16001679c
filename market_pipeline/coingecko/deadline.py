"""A deadline for everything that one attempt does on the network.

The timeouts of `requests` are for each read and begin anew with every byte, name resolution has none, and
headers, chunk framing and compression can go on for ever without a byte of the body. At the deadline the
socket is shut down under whatever is reading it: TLS, a proxy's tunnel and the HTTP parser all see the
end of the connection.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3 import PoolManager
from urllib3.connection import HTTPConnection
from urllib3.exceptions import ConnectTimeoutError

_current: ContextVar[Deadline | None] = ContextVar("deadline", default=None)


class Deadline:
    """A `with` block whose connections are shut down after `seconds`; `passed` says that they were.

    It holds duplicates of the sockets, so that it can never hit a connection that is in use for the next
    request or a descriptor that was closed and given to another file.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.passed = False
        self._ends = time.monotonic() + seconds
        self._lock = threading.Lock()
        self._handles: list[socket.socket] = []
        self._timer = threading.Timer(seconds, self._pass)
        self._timer.daemon = True

    def __enter__(self) -> Deadline:
        self._outer = _current.set(self)
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._timer.cancel()
        _current.reset(self._outer)
        with self._lock:
            for handle in self._handles:
                handle.close()
            self._handles.clear()

    @property
    def remaining(self) -> float:
        """How many seconds are left."""
        return max(0.0, self._ends - time.monotonic())

    def watch(self, connected: Any) -> None:
        """Shut down `connected`, a socket or what wraps one, at the deadline."""
        handle = socket.fromfd(connected.fileno(), socket.AF_INET, socket.SOCK_STREAM)
        with self._lock:
            self._handles.append(handle)
            if self.passed:
                _shut_down(handle)

    def _pass(self) -> None:
        with self._lock:
            self.passed = True
            for handle in self._handles:
                _shut_down(handle)


class DeadlineAdapter(HTTPAdapter):
    """Sends requests, through proxies too, by connections that keep to the deadline around them."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        _keep_to_deadlines(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        _keep_to_deadlines(manager)
        return manager


class _Watched(HTTPConnection):
    """Put before a connection class of urllib3."""

    def _new_conn(self) -> socket.socket:
        deadline = _current.get()
        if deadline is None:
            return super()._new_conn()
        seconds = deadline.remaining
        connected = _Connecting(super()._new_conn).result(seconds)
        if connected is None:
            raise ConnectTimeoutError(self, f"no connection after {seconds:.0f} s")
        deadline.watch(connected)
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        deadline = _current.get()
        # A connection of an earlier request is connected already.
        if deadline and self.sock is not None:
            deadline.watch(self.sock)
        super().request(*args, **kwargs)


class _Connecting:
    """Connects in a thread, as neither resolving a name nor trying address after address can be ended
    from outside. What comes too late is closed."""

    def __init__(self, connect: Callable[[], socket.socket]) -> None:
        self._connect = connect
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._abandoned = False
        self._socket: socket.socket | None = None
        self._error: BaseException | None = None
        threading.Thread(target=self._run, name="connecting", daemon=True).start()

    def result(self, seconds: float) -> socket.socket | None:
        """The connected socket, None after `seconds`; raises what connecting raised."""
        try:
            done = self._done.wait(seconds)
        except BaseException:  # such as Ctrl-C
            self._abandon()
            raise
        if not done:
            self._abandon()
            return None
        if self._error:
            raise self._error
        return self._socket

    def _run(self) -> None:
        try:
            self._socket = self._connect()
        except BaseException as error:  # raised again where the connection is wanted
            self._error = error
        with self._lock:
            self._done.set()
            self._close_if_abandoned()

    def _abandon(self) -> None:
        with self._lock:
            self._abandoned = True
            self._close_if_abandoned()

    def _close_if_abandoned(self) -> None:
        if self._abandoned and self._socket:
            self._socket.close()


def _keep_to_deadlines(manager: PoolManager) -> None:
    """Let the connections that `manager` makes keep to deadlines."""
    classes: dict[str, Any] = dict(manager.pool_classes_by_scheme)
    for scheme, pool in classes.items():
        if not issubclass(pool.ConnectionCls, _Watched):
            connection = type(pool.ConnectionCls.__name__, (_Watched, pool.ConnectionCls), {})
            classes[scheme] = type(pool.__name__, (pool,), {"ConnectionCls": connection})
    manager.pool_classes_by_scheme = classes


def _shut_down(handle: socket.socket) -> None:
    try:
        handle.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # the other side was quicker
