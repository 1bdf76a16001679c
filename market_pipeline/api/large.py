"""Answers of a million rows: few at once in a process, so that memory stays bounded.

They are built as a whole, because only the whole has a length and an ETag. While two are built or sent,
the next one is told to come again (503, Retry-After: 1) rather than made to wait: a request that waits
holds one of the threads that small reads need.
"""

from collections.abc import AsyncIterator
from threading import BoundedSemaphore
from typing import Annotated

import anyio
from fastapi import Depends, Response
from starlette.types import Receive, Scope, Send

from market_pipeline.api.problems import ApiProblem

AT_ONCE = 2
# An answer with more rows than this is a large one.
LARGE_FROM = 10_000

# 40 MB in this time is 0.1 MB/s; who reads more slowly would keep others from reading at all.
_SECONDS_TO_READ = 300.0
_PIECE = 2**20

_free = BoundedSemaphore(AT_ONCE)


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
