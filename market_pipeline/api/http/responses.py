"""What answers have in common: ETag and 304, the link to the next page, HEAD, and security headers."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import Request, Response
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_SECURITY_HEADERS = {
    # The page sends its own policy; nothing else here is a document.
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


class SecurityHeaders:
    """ASGI middleware: no sniffing, no framing, no scripts, unless an answer sets its own header."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, send_with_headers)


class HeadAsGet:
    """ASGI middleware, the innermost: HEAD wherever there is GET, with the same answer but its body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def send_without_body(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        as_get = {**scope, "method": "GET"}
        await self._app(as_get, receive, send_without_body)
        # The log of the request reads them from its own scope.
        scope["path_params"] = as_get.get("path_params", {})
