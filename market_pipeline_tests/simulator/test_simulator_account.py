"""What the key has used, what the list of coins can be told, and servers that repeat the key."""

from collections.abc import Callable
from typing import Any

import pytest
import requests

from market_pipeline.simulator.faults import Fault

PRO = {"x-cg-pro-api-key": "CG-canary"}


def test_the_usage_counts_the_answers_of_this_run(serve: Callable[..., Any]) -> None:
    """Answers with status 200 cost a credit; errors do not."""
    client = serve(plan="pro", monthly_credits=3, requests_per_minute=40)
    client.get("/ping", headers=PRO)
    client.get("/coins/nothing/market_chart", headers=PRO)
    client.simulator.add_fault(Fault(kind="status", status=503))
    client.get("/ping", headers=PRO)
    first = client.get("/key", headers=PRO).json()
    assert (first["current_total_monthly_calls"], first["current_remaining_monthly_calls"]) == (1, 2)
    assert (first["monthly_call_credit"], first["rate_limit_request_per_minute"]) == (3, 40)
    for _ in range(3):
        client.get("/ping", headers=PRO)
    last = client.get("/key", headers=PRO).json()
    assert (last["current_total_monthly_calls"], last["current_remaining_monthly_calls"]) == (5, 0)


@pytest.mark.parametrize(
    ("fault", "listed"),
    [
        (Fault(kind="unlisted_coin", coin="solana"), {}),
        (Fault(kind="renamed_coin", coin="solana", keyed_as="solana-2"), {"solana-2": "sol"}),
        (Fault(kind="renamed_coin", coin="solana", keyed_as="ethereum"), {}),
        (Fault(kind="new_ticker", coin="solana", keyed_as="slx"), {"solana": "slx"}),
    ],
)
def test_a_coin_can_vanish_be_renamed_be_merged_or_change_its_ticker(
    client: Any, fault: Fault, listed: dict[str, str]
) -> None:
    others = {"bitcoin": "btc", "ethereum": "eth", "cardano": "ada", "polkadot": "dot"}
    client.simulator.add_fault(fault)
    answer = {coin["id"]: coin["symbol"] for coin in client.get("/coins/list").json()}
    assert answer == {**others, **listed}
    assert {coin["id"] for coin in client.get("/coins/list").json()} == {*others, "solana"}


def test_such_faults_can_be_there_from_the_start_and_wait_for_the_list(serve: Callable[..., Any]) -> None:
    client = serve(faults=[Fault(kind="unlisted_coin", coin="bitcoin", times=None)])
    assert client.prices("bitcoin")["bitcoin"]["usd"] > 0
    for _ in range(2):
        assert "bitcoin" not in {coin["id"] for coin in client.get("/coins/list").json()}


def test_a_fault_of_the_list_is_told_over_the_admin_path(client: Any) -> None:
    fault = {"kind": "renamed_coin", "coin": "solana", "keyed_as": "solana-2"}
    assert requests.post(client.simulator.admin_url + "/faults", json=fault, timeout=5).ok
    assert "solana-2" in {coin["id"] for coin in client.get("/coins/list").json()}


def test_the_edge_can_say_one_word(client: Any) -> None:
    client.simulator.add_fault(Fault(kind="throttled"))
    answer = client.get("/ping")
    assert (answer.status_code, answer.text) == (429, "Throttled")


def test_a_careless_server_repeats_the_key(serve: Callable[..., Any]) -> None:
    """So that a test can see whether anybody passes it on."""
    client = serve(plan="pro")
    client.simulator.add_fault(Fault(kind="echo"))
    echo = client.get("/ping", headers=PRO)
    assert echo.status_code == 401 and "CG-canary" in echo.text and echo.headers["X-Key"] == "CG-canary"
    client.simulator.add_fault(Fault(kind="redirect"))
    url = client.simulator.base_url + "/ping"
    moved = requests.get(url, headers=PRO, allow_redirects=False, timeout=5)
    assert moved.status_code == 302 and "CG-canary" in moved.headers["Location"]
