"""A deadline for all network activity of one attempt.

The timeouts of `requests` are per read and restart with every byte, name resolution has none, and headers,
chunk framing and compression can go on forever without a byte of the body. At the deadline the socket is
shut down under its reader: TLS, a proxy's tunnel and the HTTP parser all see the end of the connection.
"""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
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

    It holds duplicates of the sockets, so that it never hits a connection that serves the next request or
    a descriptor that was closed and reused for another file.
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
        """Seconds until the deadline."""
        return max(0.0, self._ends - time.monotonic())

    def watch(self, connected: Any) -> None:
        """Shut down `connected`, a socket or a wrapper of one, at the deadline."""
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
    """Sends requests, through proxies too, over connections that observe the deadline around them."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        _watch_connections(self.poolmanager)

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(*args, **kwargs)
        _watch_connections(manager)
        return manager


class _Watched(HTTPConnection):
    """A mixin for the connection classes of urllib3."""

    def _new_conn(self) -> socket.socket:
        deadline = _current.get()
        if deadline is None:
            return super()._new_conn()
        seconds = deadline.remaining
        connected = _connect_within(seconds, super()._new_conn)
        if connected is None:
            raise ConnectTimeoutError(self, f"no connection after {seconds:.0f} s")
        deadline.watch(connected)
        return connected

    def request(self, *args: Any, **kwargs: Any) -> None:
        deadline = _current.get()
        # A pooled connection is connected already.
        if deadline and self.sock is not None:
            deadline.watch(self.sock)
        super().request(*args, **kwargs)


def _connect_within(seconds: float, connect: Callable[[], socket.socket]) -> socket.socket | None:
    """Return the socket of `connect`, None after `seconds`; raise what it raises.

    It runs in a thread, because name resolution and the attempts on one address after another cannot be
    interrupted. A socket that comes too late is closed.
    """
    future: Future[socket.socket] = Future()

    def run() -> None:
        try:
            future.set_result(connect())
        except BaseException as error:  # raised again below
            future.set_exception(error)

    threading.Thread(target=run, name="connecting", daemon=True).start()
    abandoned = True  # also after an exception such as Ctrl-C
    try:
        if not wait([future], seconds).done:
            return None
        abandoned = False
        return future.result()
    finally:
        if abandoned:
            future.add_done_callback(_close_late)


def _close_late(future: Future[socket.socket]) -> None:
    if not future.exception():
        future.result().close()


def _watch_connections(manager: PoolManager) -> None:
    """Make the connections of `manager` observe deadlines."""
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
        pass  # the other side was first
