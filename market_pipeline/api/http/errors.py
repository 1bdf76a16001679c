"""Which problem document an exception becomes. What is not known here is an internal error without details."""

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from market_pipeline.api.http.problems import ApiProblem, problem_response
from market_pipeline.logs import get_logger
from market_pipeline.storage.db_errors import StorageError

logger = get_logger(__name__)

_KINDS = {404: "not-found", 405: "method-not-allowed", 413: "body-too-large"}


def handle_errors(app: FastAPI) -> None:
    """Every error of `app` becomes a problem document."""
    app.add_exception_handler(ApiProblem, _told)
    app.add_exception_handler(HTTPException, _routed)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(StorageError, _database)
    app.add_exception_handler(SQLAlchemyError, _database)


def internal_error(request: Request) -> Response:
    """The answer where nothing is known but that it went wrong."""
    detail = "The request could not be answered; the log has the reason under the trace id."
    return problem_response(request, ApiProblem(500, "internal-error", detail))


def shutting_down(request: Request) -> Response:
    """The answer to a request that was still under way when the server had to end."""
    detail = "The API is being stopped and waits no longer; ask again in some seconds."
    return problem_response(request, ApiProblem(503, "shutting-down", detail, {"Retry-After": "10"}))


def _told(request: Request, error: Exception) -> Response:
    assert isinstance(error, ApiProblem)
    return problem_response(request, error)


def _routed(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = _KINDS.get(error.status_code, "invalid-request")
    asked = f"{request.method} {request.scope['path']}"
    detail = f"{error.detail}: {asked}. GET /openapi.json lists what there is."
    headers = dict(error.headers or {})
    if "GET" in headers.get("Allow", "").split(", "):
        # Routes do not know of HEAD, which `HeadAsGet` serves.
        headers["Allow"] = headers["Allow"].replace("GET", "GET, HEAD")
    return problem_response(request, ApiProblem(error.status_code, kind, detail, headers))


def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    found = [
        {"where": ".".join(str(part) for part in problem["loc"]), "what": problem["msg"]}
        for problem in error.errors()
    ]
    detail = "; ".join(f"{problem['where']}: {problem['what']}" for problem in found)
    return problem_response(request, ApiProblem(422, "invalid-request", detail, errors=found))


def _database(request: Request, error: Exception) -> Response:
    logger.error("The database failed: %s", error, exc_info=error)
    detail = "The database did not answer as it should; the log has the reason under the trace id."
    return problem_response(request, ApiProblem(500, "database-error", detail))
