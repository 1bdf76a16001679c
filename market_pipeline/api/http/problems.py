"""Errors as RFC 9457 problem documents, and which problem document each exception becomes."""

import json
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match

from market_pipeline.logs import current_trace_id, get_logger
from market_pipeline.storage.db_errors import StorageError, WriteForbidden

logger = get_logger(__name__)

MEDIA_TYPE = "application/problem+json"
_URN = "urn:market-pipeline:problem:"

TITLES = {
    "unsupported-symbol": "This symbol is not collected here",
    "invalid-request": "The request is invalid",
    "quote-refused": "CoinGecko's price was refused",
    "source-unavailable": "CoinGecko gave no usable answer",
    "budget-exhausted": "The request budget is used up for now",
    "too-many-requests": "This client has sent too many requests",
    "too-many-at-once": "Too many requests of this kind are in progress",
    "read-only": "This API may only read its database",
    "database-error": "The database failed",
    "internal-error": "Unexpected error",
    "not-ready": "Not ready to serve",
    "shutting-down": "The server is shutting down",
    "no-prices": "There is no price yet",
    "unknown-anomaly": "There is no such anomaly",
    "unknown-cursor": "There is no page after this cursor",
    "unauthorized": "A token is required",
    "foreign-site": "Pages of other sites may not do this",
    "unknown-host": "This host name is not served",
    "unsupported-media-type": "The body has another format than JSON",
    "body-too-large": "The body is too large",
    "address-too-long": "The address is too long",
    "headers-too-large": "The headers are too large",
    "not-acceptable": "No format that the client accepts",
    "not-found": "There is nothing at this address",
    "method-not-allowed": "This address does not allow that method",
}
READ_ONLY = (
    "The role of this API in its database may only read, so nothing was changed; the log names the table under the "
    "trace id. Let an administrator grant INSERT, UPDATE and DELETE on it, or use an API that may write."
)
_ROUTING_KINDS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


class Problem(BaseModel):
    """Why a request failed (RFC 9457). Further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="The kind of problem, for programs.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status of the answer.")
    detail: str = Field(description="What happened to this request, and what to do.")
    instance: str = Field(description="The path of the request.")
    trace_id: str = Field(description="Marks every log line of this request.")


class ApiProblem(Exception):
    """An answer that is an error; `kind` is one of TITLES, `members` are added to the document.

    `detail` is for the person behind the request: what happened, to what, and what to do; no internals.
    """

    def __init__(
        self, status: int, kind: str, detail: str, headers: Mapping[str, str] | None = None, **members: Any
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.kind = kind
        self.detail = detail
        self.headers = headers
        self.members = members


def problem_response(request: Request, problem: ApiProblem) -> Response:
    """Answer `request` with `problem`."""
    document = {
        "type": _URN + problem.kind,
        "title": TITLES[problem.kind],
        "status": problem.status,
        "detail": problem.detail,
        # Not request.url, which includes the Host header: that may be any text.
        "instance": quote(request.scope["path"]),
        "trace_id": current_trace_id() or "none",
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **(problem.headers or {})}
    return Response(json.dumps(document), problem.status, headers, MEDIA_TYPE)


def internal_error(request: Request) -> Response:
    """Answer a request that failed in a way that only the log may describe."""
    detail = "The request failed; the log has the reason under the trace id."
    return problem_response(request, ApiProblem(500, "internal-error", detail))


def shutting_down(request: Request) -> Response:
    """Answer a request that was still in progress when the server had to stop."""
    detail = "The API is stopping; try again in a few seconds."
    return problem_response(request, ApiProblem(503, "shutting-down", detail, {"Retry-After": "10"}))


def handle_errors(app: FastAPI) -> None:
    """Answer every expected error of `app` with a problem document."""
    app.exception_handler(ApiProblem)(problem_response)
    app.exception_handler(HTTPException)(_routing_error)
    app.exception_handler(RequestValidationError)(_invalid_request)
    app.exception_handler(WriteForbidden)(_read_only)
    app.exception_handler(StorageError)(_database_error)
    app.exception_handler(SQLAlchemyError)(_database_error)


def _routing_error(request: Request, error: HTTPException) -> Response:
    kind = _ROUTING_KINDS.get(error.status_code, "invalid-request")
    detail = f"{error.detail}: {request.method} {request.scope['path']}. GET /openapi.json lists every endpoint."
    headers = dict(error.headers or {})
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        headers["Allow"] = ", ".join(_allowed(request))
    return problem_response(request, ApiProblem(error.status_code, kind, detail, headers))


def _allowed(request: Request) -> list[str]:
    """Return the methods of all routes of this path: Starlette names those of the first one only."""
    routes: Sequence[Any] = request.app.state.routes
    found = {name for one in routes if one.matches(request.scope)[0] is not Match.NONE for name in one.methods}
    # Routes do not know of HEAD, which `HeadAsGet` serves.
    return sorted(found | {"HEAD"} if "GET" in found else found)


def _invalid_request(request: Request, error: RequestValidationError) -> Response:
    found = [
        {"where": ".".join(str(part) for part in problem["loc"]), "what": problem["msg"]}
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem['where']}: {problem['what']}" for problem in found)
    return problem_response(request, ApiProblem(422, "invalid-request", detail, errors=found))


def _read_only(request: Request, error: Exception) -> Response:
    logger.warning("A change was refused: %s", error)
    return problem_response(request, ApiProblem(403, "read-only", READ_ONLY))


def _database_error(request: Request, error: Exception) -> Response:
    logger.error("The database failed: %s", error, exc_info=error)
    detail = "The database failed; the log has the reason under the trace id."
    return problem_response(request, ApiProblem(500, "database-error", detail))


def problems(**kinds: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    """Document the problems of an endpoint: `problems(unsupported_symbol=(400, "an example"), ...)`.

    Kinds with the same status become examples of one answer.
    """
    documented: dict[int | str, dict[str, Any]] = {}
    for name, (status, detail) in kinds.items():
        kind = name.replace("_", "-")
        answer = documented.setdefault(
            status, {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"}, "examples": {}
            }}},
        )
        answer["content"][MEDIA_TYPE]["examples"][kind] = {"value": {
            "type": _URN + kind, "title": TITLES[kind], "status": status, "detail": detail,
            "instance": "/", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
        }}
    return documented
