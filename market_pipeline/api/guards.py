"""Requests that are refused before they reach an endpoint: by host name, token, origin or size.

Each rule is a function of the ASGI scope that returns the problem to answer with, or None; `Guard` applies one.
"""

import asyncio
import hmac
import re
from collections.abc import Callable

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market_pipeline.api.endpoints.page import is_page
from market_pipeline.api.http.problems import ApiProblem, problem_response
from market_pipeline.core.loopback import is_loopback
from market_pipeline.settings import Settings

# For load balancers and client generators; the pages are open as well, for a browser that has no token yet.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json"})
UNAUTHORIZED = "Send the token of this API (its API_TOKEN) as `Authorization: Bearer <token>`."

# A mark with the longest note, however its characters are escaped.
MAX_BODY_BYTES = 4096
MAX_ADDRESS_BYTES = 2048
# A browser adds the cookies of every other server on this machine.
MAX_HEADER_BYTES = 32 * 1024

_SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::[0-9]*)?")
# An honest client has sent a small body long before.
BODY_SECONDS = 5.0


def add_guards(app: FastAPI, settings: Settings) -> None:
    """Put the guards that `settings` require in front of `app`; the one added last runs first."""
    app.add_middleware(BodySize)
    if settings.api_token is not None:
        app.add_middleware(Guard, rule=token_rule(settings.api_token))
    app.add_middleware(Guard, rule=foreign_site)
    if settings.api_token is None and not settings.api_without_token:
        app.add_middleware(Guard, rule=unknown_host)
    app.add_middleware(Guard, rule=oversized_head)


class Guard:
    """ASGI middleware: a request for which `rule` returns a problem is answered with it."""

    def __init__(self, app: ASGIApp, rule: Callable[[Scope], ApiProblem | None]) -> None:
        self._app = app
        self._rule = rule

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the problem, or pass the request on."""
        problem = self._rule(scope) if scope["type"] == "http" else None
        answer = self._app if problem is None else problem_response(Request(scope), problem)
        await answer(scope, receive, send)


def token_rule(secret: SecretStr) -> Callable[[Scope], ApiProblem | None]:
    """Require the token everywhere but for OPEN_PATHS and the pages, also where there is no endpoint.

    With FastAPI's HTTPBearer a new endpoint without that dependency would be open.
    """
    expected = secret.get_secret_value().encode()

    def missing_token(scope: Scope) -> ApiProblem | None:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        # In constant time: how long it takes reveals nothing about the token.
        accepted = scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), expected)
        if accepted or scope["path"] in OPEN_PATHS or is_page(scope["path"]):
            return None
        return ApiProblem(401, "unauthorized", UNAUTHORIZED, {"WWW-Authenticate": "Bearer"})

    return missing_token


def foreign_site(scope: Scope) -> ApiProblem | None:
    """Refuse changes that come from a page of another site (CSRF).

    A browser lets any page send a POST to this machine and only hides the answer. It marks the request in
    Sec-Fetch-Site, which no page can set, or, if it is too old for that, in Origin.
    """
    headers = Headers(scope=scope)
    site, origin = headers.get("sec-fetch-site"), headers.get("origin")
    if scope["method"] in _SAFE_METHODS:
        foreign = False
    elif site:
        foreign = site not in ("same-origin", "none")
    else:
        _, separator, name = (origin or "").lower().partition("://")
        foreign = origin is not None and (not separator or name != headers.get("host", "").lower())
    if not foreign:
        return None
    detail = "This request came from a page of another site; only this API's own page and programs may send it."
    return ApiProblem(403, "foreign-site", detail)


def unknown_host(scope: Scope) -> ApiProblem | None:
    """Serve loopback names only: a page can let its name resolve to 127.0.0.1, but not change Host (DNS rebinding).

    Starlette's TrustedHostMiddleware takes a list of names, which 127.0.0.0/8 is not, and answers in plain text.
    """
    given = Headers(scope=scope).getlist("host")
    name = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    if name is not None and is_loopback(name[1]):
        return None
    detail = (
        "Without a token this API is served under the names of this machine only: use 127.0.0.1 or localhost, "
        "or set API_TOKEN (API_WITHOUT_TOKEN=true serves every name)."
    )
    return ApiProblem(421, "unknown-host", detail)


def oversized_head(scope: Scope) -> ApiProblem | None:
    """Refuse long addresses (414) and large headers (431): parsing thousands of parameters blocks all requests."""
    if len(scope["path"]) + len(scope["query_string"]) > MAX_ADDRESS_BYTES:
        detail = f"Path and query are longer than {MAX_ADDRESS_BYTES} bytes, the most that any address here needs."
        return ApiProblem(414, "address-too-long", detail)
    if sum(len(name) + len(value) for name, value in scope["headers"]) > MAX_HEADER_BYTES:
        detail = f"The headers are larger than {MAX_HEADER_BYTES} bytes; send fewer or shorter ones."
        return ApiProblem(431, "headers-too-large", detail)
    return None


class BodySize:
    """ASGI middleware: a body of more than MAX_BODY_BYTES is a 413 and is not read; others are read at once."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the problem, or pass the request on."""
        # The scope of the server's start and end has no headers.
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        length, chunked = headers.get("content-length", "0"), "transfer-encoding" in headers
        if length == "0" and not chunked:
            await self._app(scope, receive, send)
            return
        small = length.isdecimal() and len(length) < 10 and int(length) <= MAX_BODY_BYTES
        body = await _read(receive) if chunked or small else None
        if body is not None:
            await self._app(scope, _read_already(body, receive), send)
            return
        detail = f"A body may have up to {MAX_BODY_BYTES} bytes, which arrive within {BODY_SECONDS:.0f} s."
        # Otherwise the server would read on to find the next request of the connection.
        problem = ApiProblem(413, "body-too-large", detail, {"Connection": "close"})
        await problem_response(Request(scope), problem)(scope, receive, send)


async def _read(receive: Receive) -> bytes | None:
    """Return the body; None if it does not end within the limit, in time."""

    async def read() -> bytes | None:
        body, more = b"", True
        while more and len(body) <= MAX_BODY_BYTES:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        return body if len(body) <= MAX_BODY_BYTES else None

    try:
        return await asyncio.wait_for(read(), BODY_SECONDS)
    except asyncio.TimeoutError:
        return None


def _read_already(body: bytes, receive: Receive) -> Receive:
    """Give the application the body that was read, then the messages that follow."""
    read: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def next_message() -> Message:
        return read.pop() if read else await receive()

    return next_message
