"""Rate and concurrency limits for requests that change something, and their thread pool.

Collecting waits for the budget and for CoinGecko, marking for other writers. With threads and connections of their own
they never delay a reader.
"""

import math
from collections.abc import Callable
from typing import TypeVar

import anyio
from fastapi import Request

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limits import REQUESTS, WINDOW_SECONDS, ClientLimit

THREADS = 20
# As many more wait for a thread.
MAX_IN_PROGRESS = 2 * THREADS

Result = TypeVar("Result")


class ChangeLimits:
    """The limits in one process; for use in its event loop."""

    def __init__(self, service: Service) -> None:
        self._service = service.with_own_connections()
        self._client_limit = ClientLimit(self._service.database)
        self._threads = anyio.CapacityLimiter(THREADS)
        self._in_progress = 0

    @property
    def in_progress(self) -> int:
        """How many requests have a thread or wait for one."""
        return self._in_progress

    async def run(self, request: Request, call: Callable[[Service], Result]) -> Result:
        """Return the result of `call`, which runs in a thread to its end even if the client leaves.

        Raises an ApiProblem: 503 if too many are in progress, 429 if the client has sent too many.
        """
        client = request.client.host if request.client else "unknown"
        if self._in_progress >= MAX_IN_PROGRESS:
            detail = f"{MAX_IN_PROGRESS} changes are in progress; try again in a second."
            raise ApiProblem(503, "too-many-at-once", detail, {"Retry-After": "1"})
        self._in_progress += 1
        try:
            return await anyio.to_thread.run_sync(self._call, client, call, limiter=self._threads)
        finally:
            self._in_progress -= 1

    def close(self) -> None:
        """Close the connections."""
        self._service.database.dispose()

    def _call(self, client: str, call: Callable[[Service], Result]) -> Result:
        # In the thread, because another writer may lock the database.
        if wait := self._client_limit.admit(client):
            seconds = math.ceil(wait)
            raise ApiProblem(
                429, "too-many-requests",
                f"One client may send {REQUESTS} changes in {WINDOW_SECONDS} s; try again in {seconds} s.",
                {"Retry-After": str(seconds)},
            )
        return call(self._service)
