"""Pages of other sites may not change anything here.

A browser lets any page send a POST to this machine, only not read the answer. It says so itself: in
Sec-Fetch-Site, which no page can set, and where a browser is too old for that, in Origin.
"""

import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.api.http.problems import ApiProblem, problem_response
from market_pipeline.core.loopback import is_loopback

_CHANGE_NOTHING = {"GET", "HEAD", "OPTIONS"}


class ForeignSites:
    """ASGI middleware: what may change something and comes from another site's page is answered with 403."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        changes = scope["type"] == "http" and scope["method"] not in _CHANGE_NOTHING
        if changes and _is_foreign(Headers(scope=scope)):
            detail = "A page of another site sent this request; only this API's own page and programs may."
            refusal = problem_response(Request(scope), ApiProblem(403, "foreign-site", detail))
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_foreign(headers: Headers) -> bool:
    if site := headers.get("sec-fetch-site"):
        return site not in ("same-origin", "none")
    origin = headers.get("origin")
    if origin is None:
        return False
    _, found, site = origin.lower().partition("://")
    return not found or site != headers.get("host", "").lower()


_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9.\-]+)(?::[0-9]*)?")


class Hosts:
    """ASGI middleware: a Host header that is no loopback name is answered with 421."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _is_served(Headers(scope=scope)):
            detail = (
                "Without a token this API is served under the names of this machine only: ask for "
                "127.0.0.1 or localhost, or set API_TOKEN (API_WITHOUT_TOKEN=true serves every name)."
            )
            refusal = problem_response(Request(scope), ApiProblem(421, "unknown-host", detail))
            await refusal(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_served(headers: Headers) -> bool:
    given = headers.getlist("host")
    found = _HOST.fullmatch(given[0]) if len(given) == 1 else None
    return found is not None and is_loopback(found[1])
