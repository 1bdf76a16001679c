"""The document: valid, with this installation's symbols, and with an example of every problem."""

import re

import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from market_pipeline.api.http.problems import TITLES


@pytest.fixture
def document(client_over, sqlite_database):
    return client_over(sqlite_database, market_symbols="BTC,PEPE=pepe").get("/openapi.json").json()


def test_the_document_is_valid(document):
    validate(document)


def test_symbols_are_those_of_this_installation(document):
    names = set()
    for path, operations in document["paths"].items():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                if parameter["name"] == "symbol":
                    assert parameter["schema"]["enum"] == ["BTC", "PEPE"]
                    assert "lower case" in parameter["description"]
                    names.add(path)
    assert names >= {"/prices/{symbol}", "/prices/{symbol}/latest", "/coverage/{symbol}"}
    (either, *_) = document["paths"]["/anomalies/{symbol_or_id}"]["get"]["parameters"]
    assert [one.get("enum") for one in either["schema"]["anyOf"]] == [["BTC", "PEPE"], None]


def test_no_parameter_takes_the_text_null(document):
    for operations in document["paths"].values():
        for operation in operations.values():
            for parameter in operation.get("parameters", ()):
                assert "null" not in str(parameter["schema"])


def test_every_problem_is_told_with_an_example_of_its_form(document):
    schema = Draft202012Validator(document["components"]["schemas"]["Problem"])
    told = set()
    for operations in document["paths"].values():
        for operation in operations.values():
            for status, answer in operation["responses"].items():
                for kind, example in (
                    answer.get("content", {}).get("application/problem+json", {}).get("examples", {}).items()
                ):
                    schema.validate(example["value"])
                    assert str(example["value"]["status"]) == status
                    assert kind in TITLES
                    told.add(kind)
    assert told >= {"unsupported-symbol", "no-prices", "unknown-anomaly", "unknown-cursor", "not-acceptable",
                    "invalid-request", "too-many-at-once"}


def test_every_field_of_an_answer_is_described(document):
    """Times say that they are UTC, and numbers say their unit."""
    for name in ("PricePoint", "AnomalyDocument", "SymbolDocument", "PastMonth", "DayDocument",
                 "CoverageDocument", "BudgetDocument", "LatestPrice"):
        for field, schema in document["components"]["schemas"][name]["properties"].items():
            if "$ref" in schema:
                continue
            if "date-time" in str(schema):
                assert "UTC" in schema["description"], (name, field)
            if schema.get("type") not in ("array", None):
                assert schema.get("description") or field in ("day",), (name, field)
            if field.endswith("_seconds"):
                assert "seconds" in schema["description"]
            if re.search("price", field) and schema.get("type") == "number":
                assert "US dollar" in schema["description"]


def test_the_examples_of_answers_are_valid(document):
    schemas = document["components"]["schemas"]
    seen = set()
    for name, schema in schemas.items():
        if "example" in schema:
            resolved = {**schema, "components": {"schemas": schemas}}
            Draft202012Validator(resolved).validate(schema["example"])
            seen.add(name)
    assert seen >= {"PricePage", "LatestPrice", "SymbolList", "CoverageDocument", "BudgetDocument"}
