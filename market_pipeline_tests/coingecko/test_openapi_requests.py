"""Every request that the client can send, as it arrives at a socket, against the official description."""

from datetime import timedelta

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.settings import Plan
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.messages import LoggedRequest
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.openapi import ABSENT, DESCRIPTIONS, Judge

pytestmark = pytest.mark.skipif(not DESCRIPTIONS.exists(), reason=ABSENT)

# Within the year that the public plans serve.
START = start_of_day(utc_now().date() - timedelta(days=300))
KEY = {"x-cg-demo-api-key": "CG-x"}


def all_requests(plan: Plan, budget: SharedBudget) -> list[LoggedRequest]:
    key = None if plan == "keyless" else "CG-x"
    with (
        Simulator(MarketModel(), plan=plan) as simulator,
        CoinGeckoClient(simulator.base_url, plan, key, budget) as client,
    ):
        client.ping()
        client.simple_price(["bitcoin"])
        client.simple_price([f"coin-{number}" for number in range(300)])
        client.market_chart_range("bitcoin", START, START + timedelta(days=90))
        client.coins_list()
        if plan == "pro":
            client.key_info()
        return simulator.requests


@pytest.mark.parametrize("plan", ["keyless", "demo", "pro"])
def test_every_request_is_one_that_the_description_knows(plan: Plan, budget: SharedBudget) -> None:
    judge = Judge(plan)
    sent = all_requests(plan, budget)
    assert {judge.endpoint(each.path) for each in sent} == {
        "/ping", "/simple/price", "/coins/{id}/market_chart/range", "/coins/list",
        *(["/key"] if plan == "pro" else []),
    }
    assert [judge.of_request(each.path, each.query, each.headers) for each in sent] == [[] for _ in sent]


def test_a_new_request_of_the_client_has_to_be_judged_too() -> None:
    """Whoever adds a method to the client adds it to `all_requests`."""
    asking = {
        name
        for name in vars(CoinGeckoClient)
        if not name.startswith("_") and not isinstance(vars(CoinGeckoClient)[name], property)
    }
    assert asking - {"close"} == {"ping", "simple_price", "market_chart_range", "coins_list", "key_info"}


@pytest.mark.parametrize(
    ("path", "query", "headers", "complaint"),
    [
        ("/simple/prices", {}, KEY, "Path not found"),
        ("/simple/price", {"ids": "bitcoin"}, KEY, "vs_currencies is missing"),
        ("/simple/price", {"vs_currencies": "usd", "precision": "19"}, KEY, "precision"),
        ("/simple/price", {"vs_currencies": "usd", "include_last_updated_at": "yes"}, KEY, "neither true"),
        ("/simple/price", {"vs_currencies": "usd", "colour": "red"}, KEY, "there is no parameter colour"),
        ("/ping", {}, {}, "Security not found"),
        ("/ping", {}, {"x-cg-pro-api-key": "CG-x"}, "Security not found"),
        ("/ping", {}, {**KEY, "x-cg-pro-api-key": "CG-x"}, "x-cg-pro-api-key is no key of this host"),
        (
            "/coins/bitcoin/market_chart/range",
            {"vs_currency": "usd", "from": "2026-01-01", "to": "1767398400"},
            KEY,
            "from",
        ),
    ],
)
def test_the_judge_itself_finds_what_is_wrong(
    path: str, query: dict[str, str], headers: dict[str, str], complaint: str
) -> None:
    assert complaint in " ".join(Judge("demo").of_request(path, query, headers))


def test_a_key_where_none_belongs_is_found() -> None:
    assert Judge("keyless").of_request("/ping", {}, KEY) == ["x-cg-demo-api-key is no key of this host"]
