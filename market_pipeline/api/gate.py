"""Who may collect: each client so often, so many at once; and the threads in which it is done.

Collecting waits for the budget and for CoinGecko. With threads and connections of its own it never keeps
a reader waiting.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TypeVar

import anyio

from market_pipeline.api.problems import ApiProblem
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limit import REQUESTS, WINDOW_SECONDS, ClientLimit
from market_pipeline.storage.engine import Database

RUNNING = 20
# As many more wait for a thread.
AT_ONCE = 2 * RUNNING
# They only ask the database; on SQLite one after the other.
_CHECKING = 4

Result = TypeVar("Result")


class Gate:
    """The way to a collect in one process; to be used in its event loop."""

    def __init__(self, service: Service) -> None:
        self._service = replace(service, database=Database(service.database.url))
        self._limit = ClientLimit(self._service.database)
        self._checking = anyio.CapacityLimiter(_CHECKING)
        self._running = anyio.CapacityLimiter(RUNNING)
        self._at_once = 0

    async def admit(self, client: str) -> None:
        """An ApiProblem 429 if `client` asked too often; else this request counts."""
        wait = await anyio.to_thread.run_sync(self._limit.admit, client, limiter=self._checking)
        if wait:
            seconds = math.ceil(wait)
            raise ApiProblem(
                429, "too-many-requests",
                f"{REQUESTS} requests in {WINDOW_SECONDS} s are what one client may send here; "
                f"ask again in {seconds} s.", {"Retry-After": str(seconds)},
            )

    async def run(self, call: Callable[[Service], Result]) -> Result:
        """What `call` returns, made in a thread; an ApiProblem 503 if too many are under way.

        It is made to its end even if nobody waits for it any more.
        """
        with self._place():
            return await anyio.to_thread.run_sync(call, self._service, limiter=self._running)

    def close(self) -> None:
        """Close the connections."""
        self._service.database.dispose()

    @contextmanager
    def _place(self) -> Iterator[None]:
        if self._at_once >= AT_ONCE:
            raise ApiProblem(
                503, "too-many-at-once", f"{AT_ONCE} prices are being collected; ask again in a second.",
                {"Retry-After": "1"},
            )
        self._at_once += 1
        try:
            yield
        finally:
            self._at_once -= 1
