"""Pages of other sites may not change anything here.

A browser lets any page send a POST to this machine, only not read the answer. It says so itself: in
Sec-Fetch-Site, which no page can set, and where a browser is too old for that, in Origin.
"""

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.api.problems import ApiProblem, problem_response

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
