"""Answers in Arrow: threads and connections of their own, and few large ones at once.

Reading them may take long, and a database may keep them waiting; that must keep no other reader waiting.
Answers of a million rows are built as a whole, because only the whole has a length and an ETag. So that
memory stays bounded, while two are built or sent the next one is refused for now (503, Retry-After: 1).
"""

import asyncio
import math
import threading
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from threading import BoundedSemaphore
from typing import Annotated

import anyio
from fastapi import Depends, Request, Response
from starlette.types import Receive, Scope, Send

from market_pipeline.api.http.problems import ApiProblem
from market_pipeline.api.service import Service
from market_pipeline.storage.db_errors import ReadCancelled
from market_pipeline.storage.engine import Database

ARROW_THREADS = 4
AT_ONCE = 2
# An answer with more rows than this is a large one.
LARGE_FROM = 10_000

# 40 MB in this time is 0.1 MB/s; who reads more slowly would keep others from reading at all.
_SECONDS_TO_READ = 300.0
_PIECE = 2**20
# So long a request waits for one of the threads.
_SECONDS_TO_START = 10.0
# As nginx has it.
_CLIENT_LEFT = 499

_free = BoundedSemaphore(AT_ONCE)


class ArrowReads:
    """Threads and connections for answers in Arrow; to be used in the event loop of one process."""

    def __init__(self, service: Service) -> None:
        self._service = replace(service, database=Database(service.database.url, service.database.coins))
        self._at_once = anyio.CapacityLimiter(ARROW_THREADS)
        self._threads = anyio.CapacityLimiter(math.inf)

    async def run(self, request: Request, read: Callable[[Service, threading.Event], Response]) -> Response:
        """What `read` answers; the event that it is given is set when the client has left, and ends the read.

        An ApiProblem 503 if no thread is free for some seconds.
        """
        place, left = object(), threading.Event()
        with anyio.move_on_after(_SECONDS_TO_START) as waiting:
            await self._at_once.acquire_on_behalf_of(place)
        if waiting.cancelled_caught:
            detail = f"{ARROW_THREADS} answers in Arrow are under way and take long; ask again in some seconds."
            raise ApiProblem(503, "too-many-at-once", detail, {"Retry-After": "10"})
        watch = asyncio.create_task(_set_when_left(request, left))
        try:
            return await anyio.to_thread.run_sync(read, self._service, left, limiter=self._threads)
        except ReadCancelled:
            # The client has left; the log shows the status.
            return Response(status_code=_CLIENT_LEFT)
        finally:
            watch.cancel()
            self._at_once.release_on_behalf_of(place)

    def close(self) -> None:
        """Close the connections."""
        self._service.database.dispose()


async def _set_when_left(request: Request, left: threading.Event) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
    left.set()


async def _reads(request: Request) -> ArrowReads:
    reads: ArrowReads = request.app.state.arrow_reads
    return reads


# What an endpoint names as a parameter to answer in Arrow.
ArrowReadsOf = Annotated[ArrowReads, Depends(_reads)]


class Room:
    """The place of one request among the large ones, if it takes one."""

    def __init__(self) -> None:
        self._taken = False

    def take(self) -> None:
        """Take a place until the answer is sent; an ApiProblem 503 if there is none."""
        if not _free.acquire(blocking=False):
            raise ApiProblem(
                503, "too-many-at-once",
                f"{AT_ONCE} answers of more than {LARGE_FROM:,} rows are under way; ask again in a second, "
                "or for fewer rows.", {"Retry-After": "1"},
            )
        self._taken = True

    def leave(self) -> None:
        """Give the place back."""
        if self._taken:
            self._taken = False
            _free.release()


async def _room() -> AsyncIterator[Room]:
    room = Room()
    try:
        yield room
    finally:
        room.leave()


# FastAPI leaves the room after the answer is sent, or could not be.
RoomForLarge = Annotated[Room, Depends(_room)]


class LargeResponse(Response):
    """Sent in pieces, each once the client took the one before; a client that takes too long is cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with anyio.fail_after(_SECONDS_TO_READ):
            head = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
            await send(head)
            whole = memoryview(self.body)
            for start in range(0, len(whole), _PIECE):
                piece = whole[start : start + _PIECE]
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
