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

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limits import REQUESTS, WINDOW_SECONDS, ClientLimit
from market_pipeline.storage.engine import Database

RUNNING = 20
# As many more wait for a thread.
AT_ONCE = 2 * RUNNING

Result = TypeVar("Result")


class Gate:
    """The way to a collect in one process; to be used in its event loop."""

    def __init__(self, service: Service) -> None:
        self._service = replace(service, database=Database(service.database.url, service.database.coins))
        self._limit = ClientLimit(self._service.database)
        self._running = anyio.CapacityLimiter(RUNNING)
        self._at_once = 0

    async def run(self, client: str, call: Callable[[Service], Result]) -> Result:
        """What `call` returns, made for `client` in a thread to its end, even if nobody waits any more.

        An ApiProblem 503 if too many are under way, 429 if `client` asked too often.
        """
        with self._place():
            return await anyio.to_thread.run_sync(self._made, client, call, limiter=self._running)

    def close(self) -> None:
        """Close the connections."""
        self._service.database.dispose()

    def _made(self, client: str, call: Callable[[Service], Result]) -> Result:
        # It asks the database, which may keep it waiting: who is not admitted yet has a place already.
        wait = self._limit.admit(client)
        if wait:
            seconds = math.ceil(wait)
            raise ApiProblem(
                429, "too-many-requests",
                f"{REQUESTS} requests in {WINDOW_SECONDS} s are what one client may send here; "
                f"ask again in {seconds} s.", {"Retry-After": str(seconds)},
            )
        return call(self._service)

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
