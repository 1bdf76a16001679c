"""The OpenAPI document: what FastAPI derives, this installation's symbols, and our problem documents."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from market_pipeline.api.http.problems import Problem

_ID = {"type": "string", "pattern": "^[0-9a-f]{32}$", "title": "Id of an anomaly"}


def describe(app: FastAPI) -> None:
    """Let `app` serve the document at /openapi.json."""

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            made = get_openapi(
                title=app.title, version=app.version, description=app.description, routes=app.routes
            )
            schemas = made.setdefault("components", {}).setdefault("schemas", {})
            schemas["Problem"] = Problem.model_json_schema()
            for parameter in _parameters(made):
                _adapt(parameter, app.state.service.catalogue.symbols)
            app.openapi_schema = made
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]  # as FastAPI's documentation has it


def _parameters(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for operations in document["paths"].values():
        for operation in operations.values():
            yield from operation.get("parameters", ())


def _adapt(parameter: dict[str, Any], symbols: Sequence[str]) -> None:
    """What FastAPI cannot know, and what it says although an address cannot have it."""
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
