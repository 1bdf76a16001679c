"""With API_TOKEN set, everything that tells something or does something asks for it."""

import hmac
from typing import Any

from fastapi import FastAPI
from pydantic import SecretStr
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from market_pipeline.api.endpoints.page import PAGE_PATHS
from market_pipeline.api.http.problems import ApiProblem, problem_response, problems

# Load balancers, generators of clients and a browser that has no token yet.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/openapi.json", *PAGE_PATHS})

_DETAIL = "Send the token of this API (its API_TOKEN) as `Authorization: Bearer <token>`."
_SCHEME = "bearer"


class Token:
    """ASGI middleware: outside OPEN_PATHS, a request without `token` is answered with 401."""

    def __init__(self, app: ASGIApp, token: SecretStr) -> None:
        self._app = app
        self._token = token.get_secret_value().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS and not self._is_told(scope):
            problem = ApiProblem(401, "unauthorized", _DETAIL, {"WWW-Authenticate": "Bearer"})
            await problem_response(Request(scope), problem)(scope, receive, send)
            return
        await self._app(scope, receive, send)

    def _is_told(self, scope: Scope) -> bool:
        """Whether the request carries the token; how long that takes says nothing about it."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        scheme, _, token = given[0].partition(b" ") if len(given) == 1 else (b"", b"", b"")
        return scheme.lower() == b"bearer" and hmac.compare_digest(token.strip(), self._token)


def describe_token(app: FastAPI) -> None:
    """Say in the OpenAPI document of `app` that a token is needed, and where."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = plain()
            _require_token(made)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _require_token(document: dict[str, Any]) -> None:
    scheme = {"type": "http", "scheme": "bearer", "description": "The API_TOKEN of this installation."}
    document["components"].setdefault("securitySchemes", {})[_SCHEME] = scheme
    answer = problems(unauthorized=(401, _DETAIL))[401]
    answer["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer"}}
    for path, operations in document["paths"].items():
        for operation in () if path in OPEN_PATHS else operations.values():
            operation["security"] = [{_SCHEME: []}]
            operation["responses"]["401"] = answer
