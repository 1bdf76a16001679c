"""Without a token only loopback names are served.

A page of another site can have its own name resolve to 127.0.0.1 and would then be same-origin with
this API (DNS rebinding). It cannot choose the Host header, which still says its name.
"""

import re

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.loopback import is_loopback
from market_pipeline.api.problems import ApiProblem, problem_response

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
