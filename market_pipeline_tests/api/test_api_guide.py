"""docs/api.md names what is there, and nothing else."""

import re
from pathlib import Path
from typing import get_args

import pytest

from market_pipeline.api.http.problems import TITLES
from market_pipeline.pipeline.conditions import Kind

GUIDE = (Path(__file__).parents[2] / "docs" / "api.md").read_text()


@pytest.fixture
def database(sqlite_database):
    """The names are the same on both."""
    return sqlite_database


def test_every_address_is_in_the_guide(client):
    told = set(re.findall(r"`(?:GET|POST) (/[^`]*)`", GUIDE))
    # Two addresses for people, one operation for programs.
    paths = client.get("/openapi.json").json()["paths"]
    known = {path.replace("{symbol_or_id}", "{symbol}") for path in paths}
    assert told - {"/anomalies/{id}", "/openapi.json"} == known


def test_every_kind_of_problem_is_in_the_guide():
    told = set(re.findall(r"`([a-z-]+)`", GUIDE.partition("### Errors")[2].partition("## Who may ask")[0]))
    assert set(TITLES) <= told
    assert {kind for kind in told if "-" in kind} <= set(TITLES)


def test_every_condition_is_in_the_guide():
    kinds = re.findall(r"`([a-z-]+)`", GUIDE.partition("| `kind` |")[2].partition("`symbols` has")[0])
    assert sorted(set(kinds) - {"tick", "unknown"}) == sorted(get_args(Kind))


def test_every_number_for_prometheus_is_in_the_guide(api):
    told = set(re.findall(r"market_pipeline_[a-z_]+", GUIDE)) - {"market_pipeline_token"}
    scraped = api(coingecko_plan="demo", coingecko_api_key="CG-none").get("/metrics").text
    assert told == set(re.findall(r"^# HELP (market_pipeline_[a-z_]+)", scraped, re.MULTILINE))
