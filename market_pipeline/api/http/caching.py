"""What goes with an answer to a read: a strong ETag and 304 where the client still has the same, and where
the next page is."""

import hashlib
from collections.abc import Mapping
from urllib.parse import urlencode

from fastapi import Request, Response


def cached(
    request: Request,
    content: bytes | memoryview,
    media_type: str,
    headers: Mapping[str, str] | None = None,
    response_class: type[Response] = Response,
) -> Response:
    """`content` as the answer to a read; a client asks again each time (`no-cache`) and may get 304."""
    tag = f'"{hashlib.sha256(content).hexdigest()[:32]}"'
    all_headers = {"ETag": tag, "Cache-Control": "no-cache", **(headers or {})}
    if _has(request, tag):
        return Response(status_code=304, headers=all_headers)
    return response_class(content, headers=all_headers, media_type=media_type)


def next_page(request: Request, **changed: str | None) -> dict[str, str]:
    """The Link header of an answer that goes on where these parameters are `changed`, none if they are None.

    It is relative to the answer, and so right behind any proxy.
    """
    if None in changed.values():
        return {}
    query = urlencode({**request.query_params, **changed})
    return {"Link": f'<?{query}>; rel="next"'}


def _has(request: Request, tag: str) -> bool:
    """Whether the client says that it has it: https://www.rfc-editor.org/rfc/rfc9110#section-13.1.2."""
    given = request.headers.getlist("if-none-match")
    tags = {one.strip().removeprefix("W/") for line in given for one in line.split(",")}
    return tag in tags or "*" in tags
