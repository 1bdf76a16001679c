"""What answers have in common: ETag and 304, the link to the next page, HEAD, and security headers."""

import hashlib
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from fastapi import Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.api.http.negotiation import JSON

if TYPE_CHECKING:
    import pyarrow as pa

# No sniffing, no framing, no scripts; the page sends its own policy.
SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}


def cached(
    request: Request,
    content: bytes | memoryview,
    media_type: str,
    headers: Mapping[str, str] | None = None,
    response_class: type[Response] = Response,
) -> Response:
    """Answer a read with `content` and a strong ETag, or with 304 if the client has the same content."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    all_headers = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    if _matches(request, tag):
        return Response(status_code=304, headers=all_headers)
    return response_class(content, headers=all_headers, media_type=media_type)


def arrow_stream(table: "pa.Table") -> memoryview:
    """Return `table` as an Arrow IPC stream."""
    import pyarrow as pa

    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return memoryview(sink.getvalue())


def not_cached(document: object) -> Response:
    """Answer with `document` as JSON that no cache may store: it describes this moment."""
    return Response(json.dumps(document), headers={"Cache-Control": "no-store"}, media_type=JSON)


def _matches(request: Request, tag: str) -> bool:
    """Evaluate If-None-Match: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2."""
    given = request.headers.getlist("if-none-match")
    tags = {one.strip().removeprefix("W/") for line in given for one in line.split(",")}
    return tag in tags or "*" in tags


def next_page(request: Request, **changed: str | None) -> dict[str, str]:
    """Return the Link header to this address with the parameters `changed`; none if they are None.

    It is relative, and so correct behind any proxy.
    """
    if None in changed.values():
        return {}
    query = urlencode({**request.query_params, **changed})
    return {"Link": f'<?{query}>; rel="next"'}


class HeadAsGet:
    """ASGI middleware, the innermost: HEAD wherever there is GET. The server drops the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a HEAD on as a GET."""
        if scope.get("method") != "HEAD":
            await self._app(scope, receive, send)
            return
        as_get = {**scope, "method": "GET"}
        await self._app(as_get, receive, send)
        # The log of the request reads them from its own scope.
        scope["path_params"] = as_get.get("path_params", {})
