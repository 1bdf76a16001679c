"""The official OpenAPI descriptions as judges of the simulator's answers (skipped where absent)."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

SHARED = Path(__file__).parents[3] / "shared" / "coingecko"

pytestmark = pytest.mark.skipif(not SHARED.exists(), reason="the OpenAPI descriptions are not here")

QUESTIONS: dict[str, tuple[str, dict[str, Any]]] = {
    "/ping": ("/ping", {}),
    "/simple/price": (
        "/simple/price",
        {
            "ids": "bitcoin,ethereum,nothing",
            "vs_currencies": "usd",
            "include_market_cap": "true",
            "include_24hr_vol": "true",
            "include_24hr_change": "true",
            "include_last_updated_at": "true",
            "precision": "full",
        },
    ),
    "/coins/{id}/market_chart": ("/coins/bitcoin/market_chart", {"vs_currency": "usd", "days": "90"}),
    "/coins/{id}/market_chart/range": (
        "/coins/bitcoin/market_chart/range",
        {"vs_currency": "usd", "from": "1795348830", "to": "1795435230"},
    ),
    "/coins/list": ("/coins/list", {"include_platform": "true"}),
    "/key": ("/key", {}),
}
_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, dict),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "boolean": lambda value: isinstance(value, bool),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
}
_JUDGED = {"type", "properties", "items", "required", "additionalProperties", "nullable"}
# Keywords that say nothing about whether a value is valid.
_SILENT = {"description", "example", "title", "format"}


def violations(value: Any, schema: dict[str, Any], spec: dict[str, Any], where: str = "$") -> list[str]:
    """What in `value` contradicts `schema`: the keywords that these endpoints' schemas use."""
    if "$ref" in schema:
        return violations(value, spec["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]], spec, where)
    unknown = set(schema) - _JUDGED - _SILENT
    assert not unknown, f"this judge does not know {unknown} at {where}"
    if value is None and schema.get("nullable"):
        return []
    if "type" in schema and not _TYPES[schema["type"]](value):
        return [f"{where}: {value!r} is no {schema['type']}"]
    found = []
    if isinstance(value, dict):
        found += [f"{where}.{name} is missing" for name in schema.get("required", []) if name not in value]
        for name, inner in value.items():
            of_name = schema.get("properties", {}).get(name, schema.get("additionalProperties"))
            found += violations(inner, of_name, spec, f"{where}.{name}") if isinstance(of_name, dict) else []
    if isinstance(value, list):
        for index, inner in enumerate(value):
            found += violations(inner, schema.get("items", {}), spec, f"{where}[{index}]")
    return found


@pytest.mark.parametrize(("plan", "file"), [("demo", "demo-api.json"), ("pro", "pro-api.json")])
@pytest.mark.parametrize("endpoint", QUESTIONS)
def test_an_answer_is_what_the_official_description_says(
    serve: Callable[..., Any], plan: str, file: str, endpoint: str
) -> None:
    spec = json.loads((SHARED / file).read_text())
    if endpoint not in spec["paths"]:
        pytest.skip(f"{endpoint} is not in {file}")
    operation = spec["paths"][endpoint]["get"]
    path, query = QUESTIONS[endpoint]
    described = {parameter.get("name") for parameter in operation.get("parameters", [])}
    assert set(query) <= described
    answer = serve(plan=plan).get(path, headers={f"x-cg-{plan}-api-key": "CG-x"}, **query)
    assert answer.status_code == 200
    schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
    assert violations(answer.json(), schema, spec) == []


def test_the_judge_itself_finds_what_is_wrong() -> None:
    spec = json.loads((SHARED / "demo-api.json").read_text())
    price, chart = ({"$ref": f"#/components/schemas/{name}"} for name in ("SimplePrice", "CoinsMarketChart"))
    assert violations({"bitcoin": {"usd": "1", "last_updated_at": 1}}, price, spec)
    assert violations({"prices": [[1, 2]], "market_caps": []}, chart, spec) == ["$.total_volumes is missing"]
    assert violations({"prices": [[1, None]], "market_caps": [], "total_volumes": []}, chart, spec)


@pytest.mark.parametrize(
    ("recording", "plan", "headers", "path", "query"),
    [
        ("04-simple-price-missing-vs-currencies-422", "keyless", {}, "/simple/price", {}),
        (
            "38-error-401-10012-range",
            "keyless",
            {},
            "/coins/bitcoin/market_chart",
            {"vs_currency": "usd", "days": "max"},
        ),
        ("39-error-400-10011-demo-key-on-pro-host", "pro", {"x-cg-demo-api-key": "CG-x"}, "/ping", {}),
        ("43-error-403-descriptive-user-agent", "keyless", {"User-Agent": ""}, "/ping", {}),
    ],
)
def test_an_error_is_the_recorded_one_to_the_letter(
    serve: Callable[..., Any],
    recording: str,
    plan: str,
    headers: dict[str, str],
    path: str,
    query: dict[str, str],
) -> None:
    """Only the time of the answer differs."""
    recorded = json.loads((SHARED / "recorded" / f"{recording}.json").read_text())["response"]
    answer = serve(plan=plan).get(path, headers=headers, **query)
    assert answer.status_code == recorded["status"]
    assert _timeless(answer.json()) == _timeless(json.loads(recorded["body_text"]))


def _timeless(document: Any) -> Any:
    if not isinstance(document, dict):
        return document
    return {name: "..." if name == "timestamp" else _timeless(value) for name, value in document.items()}
