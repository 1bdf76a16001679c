"""Errors as RFC 9457 problem documents: one form for everything that is not an answer."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from market_pipeline.logs import current_trace_id

MEDIA_TYPE = "application/problem+json"
_URN = "urn:market-pipeline:problem:"

TITLES = {
    "unsupported-symbol": "This symbol is not collected here",
    "invalid-request": "The request cannot be understood",
    "quote-refused": "The source answered with a price that was refused",
    "source-unavailable": "CoinGecko gave no usable answer",
    "budget-exhausted": "The request budget is used up for now",
    "too-many-requests": "This client asked too often",
    "too-many-at-once": "Too many requests of this kind are under way",
    "database-error": "The database failed",
    "internal-error": "Something unexpected failed",
    "not-ready": "Not ready to serve",
    "shutting-down": "The server is ending",
    "no-prices": "There is no price yet",
    "unknown-anomaly": "There is no such anomaly",
    "unknown-cursor": "There is no page behind this cursor",
    "unauthorized": "A token is needed",
    "foreign-site": "Another site's page may not ask this",
    "unknown-host": "This host name is not served",
    "body-too-large": "The request's body is too large",
    "address-too-long": "The address is too long",
    "headers-too-large": "The request's headers are too large",
    "not-acceptable": "No format that the client accepts",
    "not-found": "There is nothing at this address",
    "method-not-allowed": "This address does not take that method",
}


class Problem(BaseModel):
    """Why a request was not answered (RFC 9457). Further members depend on the type."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="Which kind of problem; the same for each of its kind.")
    title: str = Field(description="The kind of problem in words.")
    status: int = Field(description="The HTTP status of the answer.")
    detail: str = Field(description="What happened to this request, and what to do.")
    instance: str = Field(description="The path that was asked for.")
    trace_id: str = Field(description="Marks every log line of this request.")


class ApiProblem(Exception):
    """An answer that is an error; `kind` is one of TITLES, `members` go into the document as they are.

    `detail` is for the person who asked: what happened, to what, and what to do; no internals.
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
    """`problem` as the answer to `request`."""
    document = {
        "type": _URN + problem.kind,
        "title": TITLES[problem.kind],
        "status": problem.status,
        "detail": problem.detail,
        # Not request.url, which puts the Host header before it: that may be no name at all.
        "instance": quote(request.scope["path"]),
        "trace_id": current_trace_id() or "none",
        **problem.members,
    }
    headers = {"Cache-Control": "no-store", **(problem.headers or {})}
    return Response(json.dumps(document), problem.status, headers, MEDIA_TYPE)


def problems(**kinds: tuple[int, str]) -> dict[int | str, dict[str, Any]]:
    """For the OpenAPI document of an endpoint: `problems(unsupported_symbol=(400, "an example"), ...)`.

    Kinds of the same status become examples of the same answer.
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
