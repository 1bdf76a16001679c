"""Arrow answers: their own threads and connections, and few large ones at once.

Reading them may take long, and a locked database may block them; no other reader may wait for that. An answer of a
million rows is built whole, because only the whole has a length and an ETag. To bound the memory, a third large one
is refused while two are built or sent (503, Retry-After: 1).
"""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from typing import Annotated

import anyio
from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.service import Service, from_state
from market_pipeline.storage.db_errors import ReadCancelled

ARROW_THREADS = 4
MAX_LARGE = 2
# An answer with more rows than this is a large one.
LARGE_FROM = 10_000

# 40 MB in this time is 0.1 MB/s; a slower reader would block the others.
SECONDS_TO_SEND = 300.0
CHUNK_BYTES = 2**20
# How long a request waits for one of the threads.
SECONDS_TO_START = 10.0
# nginx's status for "client closed request"; only the log shows it.
_CLIENT_CLOSED_REQUEST = 499


class ArrowReads:
    """Threads and connections for answers in Arrow; for use in the event loop of one process."""

    def __init__(self, service: Service) -> None:
        self._service = service.with_own_connections()
        self._places = anyio.CapacityLimiter(ARROW_THREADS)
        # The places limit the threads.
        self._threads = anyio.CapacityLimiter(math.inf)
        # How many large answers are being built or sent.
        self.large = 0

    async def run(self, request: Request, read: Callable[[Service, threading.Event], Response]) -> Response:
        """Return the result of `read`; its event is set when the client disconnects, and ends the read.

        Raises an ApiProblem 503 if no thread becomes free within seconds.
        """
        borrower, disconnected = object(), threading.Event()
        with anyio.move_on_after(SECONDS_TO_START) as waiting:
            await self._places.acquire_on_behalf_of(borrower)
        if waiting.cancelled_caught:
            detail = f"{ARROW_THREADS} answers in Arrow are in progress and take long; try again in a few seconds."
            raise ApiProblem(503, "too-many-at-once", detail, {"Retry-After": "10"})
        watch = asyncio.create_task(_set_when_disconnected(request, disconnected))
        try:
            return await anyio.to_thread.run_sync(read, self._service, disconnected, limiter=self._threads)
        except ReadCancelled:
            return Response(status_code=_CLIENT_CLOSED_REQUEST)
        finally:
            watch.cancel()
            self._places.release_on_behalf_of(borrower)

    def close(self) -> None:
        """Close the connections."""
        self._service.database.dispose()


async def _set_when_disconnected(request: Request, disconnected: threading.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    disconnected.set()


class LargeSlot:
    """The slot of one request among the large ones, if it takes one."""

    def __init__(self, reads: ArrowReads) -> None:
        self._reads = reads
        self._taken = False

    def take(self) -> None:
        """Take a slot until the answer is sent; raise an ApiProblem 503 if none is free."""
        if self._reads.large >= MAX_LARGE:
            detail = (
                f"{MAX_LARGE} answers of more than {LARGE_FROM:,} rows are in progress; try again in a second, or "
                "request fewer rows."
            )
            raise ApiProblem(503, "too-many-at-once", detail, {"Retry-After": "1"})
        self._reads.large += 1
        self._taken = True

    def release(self) -> None:
        """Release the slot, if one was taken."""
        self._reads.large -= self._taken
        self._taken = False


ArrowReadsOf = Annotated[ArrowReads, from_state("arrow_reads")]


async def _large_slot(reads: ArrowReadsOf) -> AsyncIterator[LargeSlot]:
    slot = LargeSlot(reads)
    try:
        yield slot
    finally:
        slot.release()


# FastAPI releases the slot after the answer is sent, or could not be.
LargeSlotOf = Annotated[LargeSlot, Depends(_large_slot)]


class LargeResponse(Response):
    """Sent in chunks, each after the client took the one before; a client that is too slow is cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; raises TimeoutError if that takes too long."""
        with anyio.fail_after(SECONDS_TO_SEND):
            start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(start)
            whole = memoryview(self.body)
            for begin in range(0, len(whole), CHUNK_BYTES):
                chunk = whole[begin : begin + CHUNK_BYTES]
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
