"""No endpoint takes a body, so none needs to be read: a client may send a small one, and no more."""

import asyncio

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market_pipeline.api.http.problems import ApiProblem, problem_response

MOST_BYTES = 1024
# For a body without an announced length; an honest client has sent a small one long before.
_PATIENCE_SECONDS = 5.0


class BodySize:
    """ASGI middleware: a body of more than MOST_BYTES is answered with 413 and left unread."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            fits = await _ends_soon(receive)
            receive = _after_the_body(receive)
        else:
            length = headers.get("content-length", "0")
            fits = length.isdecimal() and len(length) < 10 and int(length) <= MOST_BYTES
        if fits:
            await self._app(scope, receive, send)
            return
        detail = f"No address here takes a body; send none (up to {MOST_BYTES} bytes are ignored)."
        # Else the server would read on, to find the connection's next request.
        problem = ApiProblem(413, "body-too-large", detail, {"Connection": "close"})
        await problem_response(Request(scope), problem)(scope, receive, send)


async def _ends_soon(receive: Receive) -> bool:
    """Read a body of unknown length as far as it is allowed to go."""
    try:
        return await asyncio.wait_for(_ends_within(receive), _PATIENCE_SECONDS)
    except asyncio.TimeoutError:
        return False


async def _ends_within(receive: Receive) -> bool:
    seen = 0
    while seen <= MOST_BYTES:
        message = await receive()
        seen += len(message.get("body", b""))
        if not message.get("more_body", False):
            break
    return seen <= MOST_BYTES


def _after_the_body(receive: Receive) -> Receive:
    """What the application receives once the body was read: that there is none, then as it comes."""
    ended: list[Message] = [{"type": "http.request", "body": b"", "more_body": False}]

    async def next_message() -> Message:
        return ended.pop() if ended else await receive()

    return next_message


MOST_OF_ADDRESS = 2048
# A browser adds the cookies of everything else that this machine serves.
MOST_OF_HEADERS = 32 * 1024


class HeadSize:
    """ASGI middleware: more than MOST_OF_ADDRESS bytes of it are 414, of MOST_OF_HEADERS 431."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        problem = _problem(scope) if scope["type"] == "http" else None
        if problem is None:
            await self._app(scope, receive, send)
            return
        await problem_response(Request(scope), problem)(scope, receive, send)


def _problem(scope: Scope) -> ApiProblem | None:
    if len(scope["path"]) + len(scope["query_string"]) > MOST_OF_ADDRESS:
        detail = f"Path and query have more than {MOST_OF_ADDRESS} bytes; no address here is so long."
        return ApiProblem(414, "address-too-long", detail)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MOST_OF_HEADERS:
        detail = f"The headers have more than {MOST_OF_HEADERS} bytes; send fewer, and shorter ones."
        return ApiProblem(431, "headers-too-large", detail)
    return None
