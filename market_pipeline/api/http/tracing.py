"""One trace id for each request: taken from the caller where it is valid, in every log line and answer."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Mapping
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from market_pipeline.api.http.problems import internal_error, shutting_down
from market_pipeline.core.symbols import LONGEST_SYMBOL
from market_pipeline.logs import bind, bound, get_logger

logger = get_logger(__name__)

HEADER = "X-Request-ID"

# https://www.w3.org/TR/trace-context/#traceparent-header-field-values; only versions after 00 may have more.
_TRACEPARENT = re.compile(
    r"(?!ff|00-.{53})[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
)
# As long as a run id in the tables may be.
_REQUEST_ID = re.compile(r"[A-Za-z0-9._\-]{8,64}")
# Servers take addresses of 64 kB, which none of ours is.
_LONGEST_PATH = 200
_PARTS_OF_THE_PAGE = "/page/"


def trace_id_of(headers: Mapping[str, str]) -> str:
    """The trace id that a caller sent in `traceparent` or else in `X-Request-ID`, if valid; else a new UUID."""
    if parent := _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip()):
        return parent[1]
    given = headers.get(HEADER.lower(), "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


class Tracing:
    """ASGI middleware, the outermost: binds trace id and client, logs each request, answers what broke."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = trace_id_of(Headers(scope=scope))
        client = scope.get("client")
        fields = {"trace_id": trace_id, "client_ip": client[0] if client else None}
        with bound(**fields):
            failure = await self._answer(scope, receive, send, trace_id)
        if failure:
            # The answer had begun; what the server says of it now is of this request too.
            bind(**fields)
            raise failure

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, trace_id: str
    ) -> Exception | None:
        """Let the application answer and log it; the error that broke an answer under way, or None."""
        started = time.perf_counter()
        status = 0
        path = scope["path"] if len(scope["path"]) <= _LONGEST_PATH else f"{scope['path'][:_LONGEST_PATH]}..."

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[HEADER] = trace_id
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        except asyncio.CancelledError:
            # The server ends and waits no longer; for an answer that has begun there are no other words.
            if status:
                raise
            await shutting_down(Request(scope))(scope, receive, send_traced)
        except Exception as error:
            logger.exception("%s %s failed", scope["method"], path)
            if status:
                return error
            await internal_error(Request(scope))(scope, receive, send_traced)
        finally:
            took = round(1000 * (time.perf_counter() - started), 1)
            told: dict[str, Any] = {"status_code": status or None, "duration_ms": took}
            if symbol := _symbol_in(scope.get("path_params", {})):
                told["symbol"] = symbol
            # The scripts of the page would hide what a person looks for.
            level = logging.DEBUG if path.startswith(_PARTS_OF_THE_PAGE) and status < 400 else logging.INFO
            logger.log(level, "%s %s answered %s", scope["method"], path, status or "nothing", extra=told)
        return None


def _symbol_in(path: Mapping[str, str]) -> str | None:
    """Which symbol a request is about; what is longer than any symbol is none, but an anomaly's id."""
    given = path.get("symbol") or path.get("symbol_or_id") or ""
    return given.upper() if 0 < len(given) <= LONGEST_SYMBOL else None
