"""A trace id for each request: the caller's if it is valid, in every log line and answer."""

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
from market_pipeline.api.http.responses import SECURITY_HEADERS
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
# uvicorn accepts addresses of 64 kB.
_LONGEST_PATH = 200
_PAGE_FILES = ("/page/", "/packaged/")


def trace_id_of(headers: Mapping[str, str]) -> str:
    """Return the caller's trace id from `traceparent`, else from `X-Request-ID`, if valid; else a new UUID."""
    if parent := _TRACEPARENT.fullmatch(headers.get("traceparent", "").strip()):
        return parent[1]
    given = headers.get(HEADER.lower(), "")
    return given if _REQUEST_ID.fullmatch(given) else str(uuid.uuid4())


class Tracing:
    """ASGI middleware, the outermost: trace id and security headers, the log line, unexpected errors."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind trace id and client for every log line of the request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace_id = trace_id_of(Headers(scope=scope))
        client = scope.get("client")
        fields = {"trace_id": trace_id, "client_ip": client[0] if client else None}
        with bound(**fields):
            failure = await self._answer(scope, receive, send, trace_id)
        if failure:
            # The answer had begun; the server's own log line about it belongs to this request too.
            bind(**fields)
            raise failure

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, trace_id: str
    ) -> Exception | None:
        """Let the application answer, and log it; return the error that broke an answer which had begun."""
        started = time.perf_counter()
        status = 0
        path = scope["path"] if len(scope["path"]) <= _LONGEST_PATH else f"{scope['path'][:_LONGEST_PATH]}..."

        async def send_traced(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers[HEADER] = trace_id
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            await self._app(scope, receive, send_traced)
        except asyncio.CancelledError:
            # The server is stopping; an answer that has begun cannot become another one.
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
            extra: dict[str, Any] = {"status_code": status or None, "duration_ms": took}
            if symbol := _symbol_in(scope.get("path_params", {})):
                extra["symbol"] = symbol
            # The pages' files would crowd out the other lines.
            level = logging.DEBUG if path.startswith(_PAGE_FILES) and status < 400 else logging.INFO
            logger.log(level, "%s %s answered %s", scope["method"], path, status or "nothing", extra=extra)
        return None


def _symbol_in(path: Mapping[str, str]) -> str | None:
    """Return the symbol of a request; a longer text is no symbol, but the id of an anomaly."""
    given = path.get("symbol") or path.get("symbol_or_id") or ""
    return given.upper() if 0 < len(given) <= LONGEST_SYMBOL else None
