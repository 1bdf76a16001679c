"""The requests of the client, over a real socket: as documented, and what becomes of their answers."""

import json
import logging
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from market_pipeline import __version__
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import BadAnswer, RequestRefused
from market_pipeline.coingecko.models import KeyInfo, ListedCoin
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.settings import Plan
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator

Connect = Callable[..., CoinGeckoClient]
Reply = Callable[..., AbstractContextManager[str]]

COINS = ("bitcoin", "ethereum", "solana", "cardano", "polkadot")
# Within the year that the public plans serve.
START = start_of_day(utc_now().date() - timedelta(days=300))
DAY = timedelta(days=1)
NOON = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=timezone.utc)


def one_day(client: CoinGeckoClient, coin_id: str = "bitcoin") -> Any:
    return client.market_chart_range(coin_id, START, START + DAY)


def test_current_prices_of_all_coins_cost_one_documented_request(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    before = utc_now()
    answer = client.simple_price(COINS)
    assert [point.coin_id for point in answer.points] == list(COINS)
    assert answer.unasked == ()
    for point in answer.points:
        assert isinstance(point.price, float) and point.price > 0
        assert isinstance(point.timestamp, int) and abs(before.timestamp() - point.timestamp) < 300
        assert point.coin_id in point.payload and str(point.timestamp) in point.payload
    (sent,) = simulator.requests
    assert (client.requests_sent, sent.method, sent.path) == (1, "GET", "/simple/price")
    assert dict(sent.query) == {
        "ids": ",".join(COINS), "vs_currencies": "usd", "precision": "full", "include_last_updated_at": "true",
    }


def test_history_is_requested_in_seconds_and_without_an_interval(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    """An interval is refused on the public plans, and milliseconds are an invalid date."""
    points = client.market_chart_range("bitcoin", START, START + 2 * DAY)
    first, last = int(START.timestamp()), int((START + 2 * DAY).timestamp())
    sent = simulator.requests[0]
    assert sent.path == "/coins/bitcoin/market_chart/range"
    assert dict(sent.query) == {
        "vs_currency": "usd", "from": str(first), "to": str(last), "precision": "full"
    }
    times = [point.timestamp for point in points]
    assert len(points) in (47, 48, 49)
    assert all(isinstance(time, float) and first <= time <= last for time in times)


def test_a_coin_id_cannot_leave_its_place_in_the_path(simulator: Simulator, client: CoinGeckoClient) -> None:
    with pytest.raises(RequestRefused):
        one_day(client, "../ping?x=1")
    assert simulator.requests[0].path != "/ping"


def test_a_range_that_ends_before_it_starts_is_not_sent(client: CoinGeckoClient) -> None:
    with pytest.raises(ValueError, match="must end after it starts"):
        client.market_chart_range("bitcoin", utc_now(), utc_now() - DAY)
    assert client.requests_sent == 0


@pytest.mark.parametrize("plan", ["keyless", "demo", "pro"])
def test_the_key_is_only_in_the_header_of_its_plan_and_the_program_names_itself(plan: Plan, connect: Connect) -> None:
    key = None if plan == "keyless" else "CG-secret"
    with Simulator(MarketModel(), plan=plan) as simulator, connect(simulator.base_url, plan, key) as client:
        client.ping()
        sent = simulator.requests[0]
    assert [name for name in sent.headers if "key" in name] == ([f"x-cg-{plan}-api-key"] if key else [])
    assert not any("key" in name for name in sent.query)
    assert sent.headers["user-agent"].startswith(f"market-pipeline/{__version__} (+")


def test_a_netrc_file_never_adds_credentials(
    simulator: Simulator, connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither for loopback, which ignores the environment anyway, nor for another name of it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("".join(f"machine {host} login me password hunter2\n" for host in ("127.0.0.1", "127.1")))
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    for url in (simulator.base_url, simulator.base_url.replace("127.0.0.1", "127.1")):
        with connect(url) as client:
            client.ping()
    assert len(simulator.requests) == 2
    assert not any("authorization" in sent.headers for sent in simulator.requests)


def test_the_proxy_of_the_environment_is_not_used_for_loopback(
    client: CoinGeckoClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The simulator runs on this machine; a company proxy would look for it on its own."""
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    client.ping()


@pytest.mark.parametrize(
    ("plan", "key"),
    [("keyless", "CG-secret"), ("demo", None), ("pro", ""), ("pro", "CG-secret\n"), ("demo", "CG secret")],
)
def test_a_key_that_does_not_fit_its_plan_is_refused_without_showing_it(
    plan: Any, key: str | None, connect: Connect
) -> None:
    with pytest.raises(ValueError, match="key") as caught:
        connect("http://127.0.0.1:9", plan, key)
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def crowd() -> MarketModel:
    """A market of 300 coins, which are more than one request may name."""
    market = MarketModel(tuple(f"coin-{n}" for n in range(300)))
    for coin in market.coin_ids:
        market.quote(coin, utc_now())  # The first price of a coin takes longer than the client waits for 250.
    return market


@pytest.mark.parametrize(
    ("faults", "answered", "lengths"),
    [
        ([], 300, [250, 50]),
        ([Fault(kind="status", status=503, coin="coin-299", times=None)], 250, [250] + 4 * [50]),
        ([Fault(kind="html", coin="coin-299", times=None)], 250, [250, 50]),
        ([Fault(kind="status", status=400, code=1, coin="coin-299", times=None)], 275, [250, 50, 25, 25]),
        ([Fault(kind="status", status=414, times=3)], 300, [250, 125, 125, 63, 62, 63, 62, 50]),
    ],
)
def test_many_coins_take_several_requests_whose_answers_remain_when_one_fails(
    crowd: MarketModel, connect: Connect, faults: list[Fault], answered: int, lengths: list[int]
) -> None:
    with Simulator(crowd, faults=faults) as simulator, connect(simulator.base_url) as client:
        answer = client.simple_price(crowd.coin_ids)
        assert [len(sent.query["ids"].split(",")) for sent in simulator.requests] == lengths
    assert [point.coin_id for point in answer.points] == list(crowd.coin_ids[:answered])
    assert set(answer.failures) == set(crowd.coin_ids[answered:])
    assert {error.endpoint for error in answer.failures.values()} <= {"/simple/price"}


def test_every_attempt_is_logged_with_its_numbers(
    client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.coingecko")
    client.ping()
    # The simulator in this process may log too.
    (record,) = [vars(record) for record in caplog.records if record.name.endswith("coingecko.transport")]
    assert (record["endpoint"], record["status_code"], record["attempt"]) == ("/ping", 200, 1)
    assert 0 <= record["duration_ms"] < 60_000


@pytest.mark.parametrize(
    ("body", "call", "expected"),
    [
        (b'{"hello":"you"}', CoinGeckoClient.ping, "an object with gecko_says; check COINGECKO_BASE_URL"),
        (b"[]", lambda client: client.simple_price(["bitcoin"]), "an object keyed by coin id"),
        (b"{}", one_day, "an object with a list of prices"),
        (json.dumps({"prices": [None] * 5_001}).encode(), one_day, "it holds 5,001 points"),
        (b"[]", CoinGeckoClient.key_info, "an object with the plan and its limits;"),
        (b'{"plan":"x"}', CoinGeckoClient.key_info, "rate_limit_request_per_minute is missing or no usable"),
        (b"{}", CoinGeckoClient.coins_list, "a list of coins with ids"),
        # An empty list would make every coin look vanished.
        (b"[]", CoinGeckoClient.coins_list, "a list of coins with ids"),
        (b'["bitcoin"]', CoinGeckoClient.coins_list, "a list of coins with ids"),
        (b'[{"id": 1}]', CoinGeckoClient.coins_list, "a list of coins with ids"),
    ],
)
def test_another_document_than_the_documented_one_is_a_bad_answer(
    reply: Reply, connect: Connect, body: bytes, call: Callable[[CoinGeckoClient], Any], expected: str
) -> None:
    with reply(body) as url, connect(url, "pro", "CG-x") as client, pytest.raises(BadAnswer, match=expected) as caught:
        call(client)
    assert (caught.value.status, caught.value.attempts) == (200, 1)


def test_the_key_of_a_paid_plan_has_limits_and_no_other(connect: Connect, client: CoinGeckoClient) -> None:
    with (
        Simulator(MarketModel(), plan="pro", requests_per_minute=70, monthly_credits=900) as simulator,
        connect(simulator.base_url, "pro", "CG-x") as paid,
    ):
        paid.ping()
        assert paid.key_info() == KeyInfo("Analyst", 70, 900, 899)
    with pytest.raises(RequestRefused, match="this plan does not include the endpoint"):
        client.key_info()


def test_the_list_names_every_coin_and_is_given_more_time_than_a_price(simulator: Simulator, connect: Connect) -> None:
    """It is a megabyte; the timeout of prices is shortened here so that the test need not last."""
    simulator.add_fault(Fault(kind="hang", seconds=0.3, path="/coins/list"))
    started = time.monotonic()
    with connect(simulator.base_url, policy=RetryPolicy(idle=0.1)) as client:
        coins = client.coins_list()
    assert ListedCoin("bitcoin", "btc", "Bitcoin") in coins and len(coins) == 5
    assert time.monotonic() - started >= 0.3 and client.requests_sent == 1


def test_an_empty_object_is_a_missing_price_for_every_coin(simulator: Simulator, client: CoinGeckoClient) -> None:
    simulator.add_fault(Fault(kind="empty_object"))
    points = client.simple_price(["bitcoin", "ethereum"]).points
    assert [(point.price, point.timestamp) for point in points] == [(None, None)] * 2
    assert json.loads(points[0].payload) == {"bitcoin": {"not_in_answer": True, "answered_instead": []}}


def test_an_answer_for_another_coin_is_a_missing_price_that_names_it(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="wrong_id", coin="solana", keyed_as="ethereum"))
    answer = client.simple_price(["bitcoin", "solana"])
    assert answer.unasked == ("ethereum",)
    assert [point.price is None for point in answer.points] == [False, True]
    assert "ethereum" in answer.points[1].payload
    assert "was not requested" in caplog.text


def test_the_values_of_an_answer_are_returned_as_they_are(simulator: Simulator, client: CoinGeckoClient) -> None:
    simulator.add_fault(Fault(kind="text_price", coin="bitcoin"))
    simulator.add_fault(Fault(kind="negative_price", coin="ethereum"))
    simulator.add_fault(Fault(kind="missing_timestamp", coin="solana"))
    text, negative, timeless = client.simple_price(["bitcoin", "ethereum", "solana"]).points
    assert (text.price, negative.price, timeless.timestamp) == ("unavailable", -1.0, None)
    assert all(isinstance(point.timestamp, int) for point in (text, negative))


def test_an_empty_history_is_logged_and_is_no_error(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="no_points"))
    assert one_day(client) == ()
    assert "has no prices of bitcoin" in caplog.text


@pytest.mark.parametrize("ahead", [-3, 61])
def test_the_clients_clock_is_compared_with_the_servers(connect: Connect, ahead: int) -> None:
    """The server's header counts whole seconds."""
    with (
        Simulator(MarketModel(), clock=lambda: NOON) as simulator,
        connect(simulator.base_url, clock=lambda: NOON + timedelta(seconds=ahead)) as client,
    ):
        assert client.clock_skew is None
        client.ping()
        assert client.clock_skew == ahead + 0.25


def test_a_server_without_a_readable_time_has_no_skew(reply: Reply, connect: Connect) -> None:
    with reply(b'{"gecko_says":"hi"}', "200 OK", "Date: today") as url, connect(url) as client:
        client.ping()
        assert client.clock_skew is None
