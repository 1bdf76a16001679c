"""What /key and /coins/list say, over a socket and taken apart."""

import time
from collections.abc import Callable
from typing import Any

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import BadAnswer, RequestRefused
from market_pipeline.coingecko.models import KeyInfo, ListedCoin, key_info, listed_coins
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator

ACCOUNT = {
    "plan": "Analyst",
    "rate_limit_request_per_minute": 500,
    "monthly_call_credit": 500_000,
    "current_remaining_monthly_calls": 499_000,
}


def of_key(per_minute: int, credits: int, calls: int) -> dict[str, int]:
    return {
        "api_key_rate_limit_request_per_minute": per_minute,
        "api_key_monthly_call_credit": credits,
        "api_key_current_total_monthly_calls": calls,
    }


@pytest.mark.parametrize(
    ("own", "expected"),
    [
        ({}, KeyInfo("Analyst", 500, 500_000, 499_000)),
        (of_key(500, 500_000, 8), KeyInfo("Analyst", 500, 500_000, 499_000)),
        (of_key(40, 2_000, 600), KeyInfo("Analyst", 40, 2_000, 1_400)),
        (of_key(40, 2_000, 2_600), KeyInfo("Analyst", 40, 2_000, 0)),
        (of_key(900, 900_000, 0), KeyInfo("Analyst", 500, 500_000, 499_000)),
        ({"api_key_monthly_call_credit": None}, KeyInfo("Analyst", 500, 500_000, 499_000)),
    ],
)
def test_the_tighter_limit_counts_that_of_the_account_or_that_of_the_key(
    own: dict[str, Any], expected: KeyInfo
) -> None:
    """What is said of the key alone came later and may be missing."""
    assert key_info({**ACCOUNT, **own}) == expected


@pytest.mark.parametrize("name", ACCOUNT)
@pytest.mark.parametrize("value", [None, -1, True, [], 1.5, 2**63])
def test_an_answer_without_a_limit_says_which(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=name):
        key_info({**ACCOUNT, name: value})


def test_the_key_of_a_paid_plan_tells_its_limits(budget: SharedBudget) -> None:
    with (
        Simulator(MarketModel(), plan="pro", requests_per_minute=70, monthly_credits=900) as simulator,
        CoinGeckoClient(simulator.base_url, "pro", "CG-x", budget) as client,
    ):
        client.ping()
        assert client.key_info() == KeyInfo("Analyst", 70, 900, 899)


def test_the_plans_without_payment_have_no_such_endpoint(client: CoinGeckoClient) -> None:
    with pytest.raises(RequestRefused, match="this plan does not include the endpoint") as caught:
        client.key_info()
    assert (caught.value.status, caught.value.error_code) == (401, 10005)


@pytest.mark.parametrize(
    ("body", "missing"),
    [(b"[]", "its limits;"), (b'{"plan":"x"}', "rate_limit_request_per_minute is missing or no")],
)
def test_another_answer_about_the_key_is_a_bad_one(
    play: Callable[..., Any], budget: SharedBudget, body: bytes, missing: str
) -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        play([response]) as url,
        CoinGeckoClient(url, "pro", "CG-x", budget) as client,
        pytest.raises(BadAnswer, match=missing),
    ):
        client.key_info()


def test_the_list_names_every_coin(client: CoinGeckoClient) -> None:
    coins = client.coins_list()
    assert ListedCoin("bitcoin", "btc", "Bitcoin") in coins
    assert len(coins) == 5


def test_the_list_is_given_more_time_than_a_price(
    simulator: Simulator, budget: SharedBudget
) -> None:
    """It is a megabyte; the timeout of prices is shortened here so that the test need not last."""
    simulator.add_fault(Fault(kind="hang", seconds=0.5, path="/coins/list"))
    started = time.monotonic()
    limits = RetryPolicy(idle=0.1)
    with CoinGeckoClient(simulator.base_url, "keyless", None, budget, policy=limits) as client:
        assert client.coins_list()
    assert time.monotonic() - started >= 0.5
    assert client.requests_sent == 1


@pytest.mark.parametrize("body", [b"{}", b"[]", b'["bitcoin"]', b'[{"id": 1}]'])
def test_a_list_of_nothing_is_a_bad_answer(
    play: Callable[..., Any], budget: SharedBudget, body: bytes
) -> None:
    """An empty one would make every coin look vanished."""
    response = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        play([response]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="a list of coins with ids"),
    ):
        client.coins_list()


def test_odd_entries_of_the_list_are_read_as_far_as_they_go() -> None:
    entries = [{"id": "_"}, {"id": "a", "symbol": None, "name": 7}, {"symbol": "x"}, None]
    assert listed_coins(entries) == (ListedCoin("_", "", ""), ListedCoin("a", "", "7"))
