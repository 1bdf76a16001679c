"""The OpenAPI document: valid, complete, kept by every endpoint (schemathesis), and named in docs/api.md."""

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import pytest
import schemathesis
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from schemathesis.engine import events, from_schema
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.http.problems import TITLES
from market_pipeline.api.service import Service
from market_pipeline.pipeline.conditions import Kind
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.serving import served, store_anomaly, store_day

# How many requests of each kind are generated for an endpoint, beside those at the bounds of the document.
EXAMPLES = 5
TOKEN = "a-token-of-the-tests"
DOCS = Path(__file__).parents[2] / "docs"
GUIDE, MONITORING = ((DOCS / name).read_text() for name in ("api.md", "monitoring.md"))
METHODS = r"`(?:GET|POST|PUT|DELETE) (/[^`]*)`"


@pytest.fixture
def document(api: Callable[..., TestClient]) -> dict[str, Any]:
    """The document of an API of two symbols."""
    found: dict[str, Any] = api(market_symbols="BTC,PEPE=pepe").get("/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for operation in methods.values():
            yield path, operation


def test_the_document_is_valid_and_of_this_installation(document: dict[str, Any]) -> None:
    validate(document)
    names = set()
    for path, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            assert "null" not in str(parameter["schema"]), "an address cannot express null"
            if parameter["name"] == "symbol":
                assert parameter["schema"]["enum"] == ["BTC", "PEPE"]
                names.add(path)
    assert names >= {"/prices/{symbol}", "/prices/{symbol}/latest", "/coverage/{symbol}"}
    (either, *_) = document["paths"]["/anomalies/{symbol_or_id}"]["get"]["parameters"]
    assert [one.get("enum") for one in either["schema"]["anyOf"]] == [["BTC", "PEPE"], None]


def test_every_problem_has_an_example_of_its_form(document: dict[str, Any]) -> None:
    schema = Draft202012Validator(document["components"]["schemas"]["Problem"])
    found = set()
    for _, operation in operations(document):
        for status, answer in operation["responses"].items():
            content = answer.get("content", {}).get("application/problem+json", {})
            for kind, example in content.get("examples", {}).items():
                schema.validate(example["value"])
                assert str(example["value"]["status"]) == status and kind in TITLES
                found.add(kind)
    assert found >= {"unsupported-symbol", "no-prices", "unknown-anomaly", "unknown-cursor", "not-acceptable",
                     "invalid-request", "too-many-at-once", "read-only", "unsupported-media-type"}


def test_every_field_is_described_with_its_unit_and_every_example_is_valid(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    for name in ("PricePoint", "AnomalyDocument", "SymbolDocument", "PastMonth", "DayDocument",
                 "CoverageDocument", "BudgetDocument", "LatestPrice", "GivenMark", "MarkDocument"):
        for field, schema in schemas[name]["properties"].items():
            described = schema.get("description", "")
            if "date-time" in str(schema):
                assert "UTC" in described, (name, field)
            if schema.get("type") not in ("array", None):
                assert described or field == "day", (name, field)
            if field.endswith("_seconds"):
                assert "seconds" in described.lower(), (name, field)
            if "price" in field and schema.get("type") == "number":
                assert "US dollar" in described, (name, field)
    seen = {name for name, schema in schemas.items() if "example" in schema}
    assert seen >= {"PricePage", "LatestPrice", "SymbolList", "CoverageDocument", "BudgetDocument", "Readiness",
                    "GivenMark"}
    for name in seen:
        Draft202012Validator({**schemas[name], "components": {"schemas": schemas}}).validate(schemas[name]["example"])


@pytest.fixture
def generated(
    service_of: Callable[..., Service], database: Database
) -> Iterator[schemathesis.BaseSchema]:
    """The schema of an API over a database with some rows, which wants a token."""
    for symbol in ("BTC", "ETH"):
        newest = store_day(database, symbol, 10.0, 9.0)
        for number, kind in enumerate(("jump", "market_move", "bad_tick")):
            store_anomaly(database, symbol, newest - timedelta(hours=number), kind)
    with served(create_app(service_of(api_token=TOKEN))) as address:
        schema = schemathesis.openapi.from_url(f"{address}/openapi.json")
        schema.config.update(headers={"Authorization": f"Bearer {TOKEN}"})
        yield schema


def swapped(answer: Any) -> bool:
    """Whether it refuses an end before the start: a schema has no words for the order of two parameters."""
    return answer is not None and answer.status_code == 422 and b"; swap them" in answer.content


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # Those of the tester itself are not ours.
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_every_answer_is_as_the_document_says(database: Database, generated: schemathesis.BaseSchema) -> None:
    generated.config.generation.update(max_examples=EXAMPLES, deterministic=True, database="none")
    tried: set[str] = set()
    wrong: list[str] = []
    for event in from_schema(generated).execute():
        if isinstance(event, events.ScenarioFinished):
            tried.update(node.value.operation.label for node in event.recorder.cases.values())
            wrong += [
                f"{check.name}: {event.recorder.cases[case].value.as_curl_command()}\n{check.failure_info.failure}"
                for case, checks in event.recorder.checks.items() for check in checks
                if check.failure_info is not None and not swapped(event.recorder.interactions[case].response)
            ]
        elif isinstance(event, (events.NonFatalError, events.FatalError)):
            wrong.append(str(event))
    assert wrong == []
    assert tried == {f"{method.upper()} {path}" for path, methods in generated.items() for method in methods}


def test_the_guide_names_every_address_problem_condition_and_number(api: Callable[..., TestClient]) -> None:
    client = api(coingecko_plan="demo", coingecko_api_key="CG-none")
    # Two addresses for people, one operation for programs.
    paths = {path.replace("{symbol_or_id}", "{symbol}") for path in client.get("/openapi.json").json()["paths"]}
    assert set(re.findall(METHODS, GUIDE)) - {"/anomalies/{id}", "/openapi.json"} == paths
    kinds = set(re.findall(r"`([a-z-]+)`", GUIDE.partition("### Errors")[2].partition("## Access")[0]))
    assert set(TITLES) <= kinds and {kind for kind in kinds if "-" in kind} <= set(TITLES)
    conditions = re.findall(r"`([a-z-]+)`", GUIDE.partition("| `kind` |")[2].partition("`symbols` has")[0])
    assert sorted(set(conditions) - {"tick", "unknown"}) == sorted(get_args(Kind))
    rows = re.findall(r"^\| (`.*?) \|", MONITORING.partition("## Metrics")[2].partition("\n## ")[0], re.MULTILINE)
    numbers = {f"market_pipeline_{name}" for row in rows for name in re.findall("`([a-z0-9_]+)`", row)}
    scraped = client.get("/metrics").text
    assert numbers == set(re.findall(r"^# HELP (market_pipeline_[a-z0-9_]+)", scraped, re.MULTILINE))
