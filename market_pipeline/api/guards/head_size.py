"""A long address or long headers cost time and memory to take apart, and no request here needs them."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.api.problems import ApiProblem, problem_response

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
