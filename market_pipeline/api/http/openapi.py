"""The OpenAPI document: FastAPI's, with this installation's symbols, our problem documents and the token."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from market_pipeline.api.guards import OPEN_PATHS, UNAUTHORIZED
from market_pipeline.api.http.problems import Problem, problems
from market_pipeline.api.service import Service

_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$", "title": "Id of an anomaly"}
_BEARER = {"type": "http", "scheme": "bearer", "description": "The API_TOKEN of this installation."}


def describe(app: FastAPI) -> None:
    """Let `app` serve the document at /openapi.json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = _document(app, app.state.service)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _document(app: FastAPI, service: Service) -> dict[str, Any]:
    made = get_openapi(title=app.title, version=app.version, description=app.description, routes=app.routes)
    components = made.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    unauthorized = problems(unauthorized=(401, UNAUTHORIZED))[401]
    unauthorized["headers"] = {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer"}}
    needs_token = service.settings.api_token is not None
    if needs_token:
        components["securitySchemes"] = {"bearer": _BEARER}
    for path, operation in _operations(made):
        for parameter in operation.get("parameters", ()):
            _adapt(parameter, service.catalogue.symbols)
        if needs_token and path not in OPEN_PATHS:
            operation["security"] = [{"bearer": []}]
            operation["responses"]["401"] = unauthorized
    return made


def _operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, operations in document["paths"].items():
        for operation in operations.values():
            yield path, operation


def _adapt(parameter: dict[str, Any], symbols: Sequence[str]) -> None:
    """Add the symbols, which FastAPI cannot know, and drop `null`, which an address cannot express."""
    schema = parameter["schema"]
    if parameter["name"] == "symbol":
        schema["enum"] = list(symbols)
    elif parameter["name"] == "symbol_or_id":
        del schema["type"]
        schema["anyOf"] = [{"type": "string", "enum": list(symbols), "title": "Symbol"}, _ID]
    elif parameter["in"] == "query":
        # A parameter may be left out; the text "null" is no value of it.
        forms = [form for form in schema.pop("anyOf", ()) if form != {"type": "null"}]
        schema.update(forms[0] if len(forms) == 1 else {"anyOf": forms} if forms else {})
