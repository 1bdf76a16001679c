"""The client against a CoinGecko on a real socket, when all is well."""

import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from market_pipeline import __version__
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import BadAnswer, RequestRefused
from market_pipeline.core.clock import utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator

COINS = ("bitcoin", "ethereum", "solana", "cardano", "polkadot")


def test_current_prices_of_all_coins_cost_one_request(simulator: Simulator, client: CoinGeckoClient) -> None:
    before = utc_now()
    answer = client.simple_price(COINS)
    assert [point.coin_id for point in answer.points] == list(COINS)
    assert answer.unasked == ()
    assert client.requests_sent == len(simulator.requests) == 1
    for point in answer.points:
        assert isinstance(point.price, float) and point.price > 0
        assert isinstance(point.timestamp, int) and abs(before.timestamp() - point.timestamp) < 300
        assert point.coin_id in point.payload and str(point.timestamp) in point.payload


def test_the_request_is_the_documented_one(simulator: Simulator, client: CoinGeckoClient) -> None:
    client.simple_price(COINS[:2])
    sent = simulator.requests[0]
    assert (sent.method, sent.path) == ("GET", "/simple/price")
    assert dict(sent.query) == {
        "ids": "bitcoin,ethereum", "vs_currencies": "usd", "precision": "full",
        "include_last_updated_at": "true",
    }


def test_history_is_asked_in_seconds_and_without_an_interval(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    """An interval is refused on the public plans, and milliseconds are an invalid date."""
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    points = client.market_chart_range("bitcoin", start, start + timedelta(days=2))
    sent = simulator.requests[0]
    assert sent.path == "/coins/bitcoin/market_chart/range"
    assert dict(sent.query) == {
        "vs_currency": "usd", "from": "1767225600", "to": "1767398400", "precision": "full"
    }
    times = [point.timestamp for point in points]
    assert len(points) in (47, 48, 49)
    assert all(isinstance(time, float) and 1767225600 <= time <= 1767398400 for time in times)


def test_a_coin_id_cannot_leave_its_place_in_the_path(simulator: Simulator, client: CoinGeckoClient) -> None:
    start = datetime(2026, 1, 1, tzinfo=timezone.utc)
    with pytest.raises(RequestRefused):
        client.market_chart_range("../ping?x=1", start, start + timedelta(days=1))
    assert simulator.requests[0].path != "/ping"


def test_a_range_that_ends_before_it_starts_is_refused_unsent(client: CoinGeckoClient) -> None:
    with pytest.raises(ValueError, match="must end after it starts"):
        client.market_chart_range("bitcoin", utc_now(), utc_now() - timedelta(days=1))
    assert client.requests_sent == 0


def test_ping_passes_when_the_api_is_up(simulator: Simulator, client: CoinGeckoClient) -> None:
    client.ping()
    assert [sent.path for sent in simulator.requests] == ["/ping"]


@pytest.mark.parametrize(
    ("plan", "header", "other"),
    [
        ("demo", "x-cg-demo-api-key", "x-cg-pro-api-key"),
        ("pro", "x-cg-pro-api-key", "x-cg-demo-api-key"),
    ],
)
def test_the_key_travels_only_in_the_header_of_its_plan(
    plan: Any, header: str, other: str, budget: SharedBudget
) -> None:
    with (
        Simulator(MarketModel(), plan=plan) as simulator,
        CoinGeckoClient(simulator.base_url, plan, "CG-secret", budget) as client,
    ):
        client.simple_price(["bitcoin"])
        sent = simulator.requests[0]
    assert header in sent.headers and other not in sent.headers
    assert not any("key" in name for name in sent.query)


def test_without_a_key_no_key_header_is_sent_and_the_program_names_itself(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    client.ping()
    headers = simulator.requests[0].headers
    assert not any("key" in name for name in headers)
    assert headers["user-agent"].startswith(f"market-pipeline/{__version__} (+")


def test_a_netrc_file_never_adds_credentials(
    simulator: Simulator,
    client: CoinGeckoClient,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    budget: SharedBudget,
) -> None:
    """Both for loopback and, since loopback ignores the environment anyway, for any other name of it."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login somebody password hunter2\n"
                     "machine 127.1 login somebody password hunter2\n")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    client.ping()
    other_name = simulator.base_url.replace("127.0.0.1", "127.1")
    with CoinGeckoClient(other_name, "keyless", None, budget) as second:
        second.ping()
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
    plan: Any, key: str | None, budget: SharedBudget
) -> None:
    with pytest.raises(ValueError) as caught:
        CoinGeckoClient("http://127.0.0.1:9", plan, key, budget)
    assert "secret" not in str(caught.value)


@pytest.fixture(scope="module")
def crowd() -> MarketModel:
    """A market of 300 coins, which are more than one request may name."""
    market = MarketModel(tuple(f"coin-{n}" for n in range(300)))
    for coin in market.coin_ids:
        market.quote(coin, utc_now())  # The first price of a coin takes longer than the client waits for 250.
    return market


def asked(simulator: Simulator) -> list[int]:
    """How many coins each request named."""
    return [len(sent.query["ids"].split(",")) for sent in simulator.requests]


def test_many_coins_are_asked_in_batches_and_come_back_as_one_answer(
    crowd: MarketModel, budget: SharedBudget
) -> None:
    with Simulator(crowd) as simulator, CoinGeckoClient(simulator.base_url, "keyless", None, budget) as client:
        answer = client.simple_price(crowd.coin_ids)
        assert asked(simulator) == [250, 50]
    assert [point.coin_id for point in answer.points] == list(crowd.coin_ids)


@pytest.mark.parametrize(
    ("fault", "came", "requests"),
    [
        (Fault(kind="status", status=503, coin="coin-299", times=None), 250, [250] + 4 * [50]),
        (Fault(kind="html", coin="coin-299", times=None), 250, [250, 50]),
        (Fault(kind="status", status=400, code=1, coin="coin-299", times=None), 275, [250, 50, 25, 25]),
        (Fault(kind="status", status=414, times=3), 300, [250, 125, 125, 63, 62, 63, 62, 50]),
    ],
)
def test_what_came_of_the_other_requests_is_kept(
    crowd: MarketModel, budget: SharedBudget, waits: list[float], fault: Fault, came: int, requests: list[int]
) -> None:
    with (
        Simulator(crowd, faults=[fault]) as simulator,
        CoinGeckoClient(simulator.base_url, "keyless", None, budget, sleep=waits.append) as client,
    ):
        answer = client.simple_price(crowd.coin_ids)
        assert asked(simulator) == requests
    assert [point.coin_id for point in answer.points] == list(crowd.coin_ids[:came])
    assert set(answer.failures) == set(crowd.coin_ids[came:])
    assert {error.endpoint for error in answer.failures.values()} <= {"/simple/price"}


def test_every_attempt_is_logged_with_its_numbers(
    client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "market_pipeline.coingecko")
    client.ping()
    # The simulator in this process may log too.
    (record,) = [vars(told) for told in caplog.records if told.name.endswith("coingecko.transport")]
    assert (record["endpoint"], record["status_code"], record["attempt"]) == ("/ping", 200, 1)
    assert 0 <= record["duration_ms"] < 60_000


def test_another_program_at_the_address_is_not_taken_for_coingecko(
    play: Callable[..., Any], budget: SharedBudget
) -> None:
    response = b'HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{"hello":"you"}'
    with (
        play([response]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="gecko_says; check COINGECKO_BASE_URL") as caught,
    ):
        client.ping()
    assert (caught.value.status, caught.value.attempts) == (200, 1)


def test_a_list_where_prices_should_be_is_a_bad_answer(
    play: Callable[..., Any], budget: SharedBudget
) -> None:
    with (
        play([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]"]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="keyed by coin id"),
    ):
        client.simple_price(["bitcoin"])
