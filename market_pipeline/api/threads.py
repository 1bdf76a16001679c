"""A thread that does one thing after the other, for what only one thread at a time may use."""

import contextvars
import threading
from collections.abc import Callable
from concurrent.futures import Future
from queue import SimpleQueue
from typing import Annotated, Any, TypeVar

import anyio
from fastapi import Depends, Request

Result = TypeVar("Result")


class OwnThread:
    """Calls are made in the order in which they were given; the thread starts with the first of them.

    It is a daemon thread: a call that hangs does not keep the process from ending.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._calls: SimpleQueue[Callable[[], Any] | None] = SimpleQueue()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None

    def submit(self, call: Callable[[], Result]) -> "Future[Result]":
        """What `call` will return or raise; it sees the caller's context variables."""
        future: Future[Result] = Future()
        context = contextvars.copy_context()

        def make() -> None:
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(context.run(call))
                # It is the business of whoever asks the future.
                except BaseException as error:
                    future.set_exception(error)

        with self._starting:
            if self._thread is None:
                self._calls = SimpleQueue()
                self._thread = threading.Thread(
                    target=_make_all, args=(self._calls,), name=self._name, daemon=True
                )
                self._thread.start()
            self._calls.put(make)
        return future

    def stop(self, seconds: float) -> None:
        """Let the thread end after the calls given so far, and wait for that at most so many seconds."""
        with self._starting:
            thread, self._thread = self._thread, None
            if thread is not None:
                self._calls.put(None)
        if thread is not None:
            thread.join(seconds)


def _make_all(calls: "SimpleQueue[Callable[[], Any] | None]") -> None:
    while (call := calls.get()) is not None:
        call()


# More of them only wait for Dagster's one thread.
STATE_THREADS = 4


async def _threads(request: Request) -> anyio.CapacityLimiter:
    threads: anyio.CapacityLimiter = request.app.state.state_threads
    return threads


# What an endpoint about the state names as a parameter, to be given as `limiter` to anyio.
StateThreads = Annotated[anyio.CapacityLimiter, Depends(_threads)]
