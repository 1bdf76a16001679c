"""The client against everything that can go wrong, over a real socket."""

import json
import logging
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.budget.shared import SharedBudget
from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import (
    BadAnswer,
    Banned,
    CoinGeckoError,
    ConnectionFailed,
    Misconfigured,
    RateLimited,
    RequestRefused,
    ServerFailed,
    Unreachable,
)
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator

START = datetime(2026, 1, 1, tzinfo=timezone.utc)


def near(*seconds: float) -> list[Any]:
    """Waits that are these, give or take the jitter."""
    return [pytest.approx(wait, abs=0.2001) for wait in seconds]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_retried_until_it_passes(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], status: int
) -> None:
    simulator.add_fault(Fault(kind="status", status=status, times=3))
    assert len(client.simple_price(["bitcoin"]).points) == 1
    assert client.requests_sent == len(simulator.requests) == 4
    assert waits == near(0.5, 1, 2)


@pytest.mark.parametrize(("status", "kind"), [(429, RateLimited), (503, ServerFailed)])
def test_after_three_retries_the_last_error_is_raised(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], status: int, kind: type[CoinGeckoError]
) -> None:
    simulator.add_fault(Fault(kind="status", status=status, times=None))
    with pytest.raises(kind) as caught:
        client.simple_price(["bitcoin"])
    assert (caught.value.attempts, caught.value.status, len(waits)) == (4, status, 3)
    assert len(simulator.requests) == 4


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, 10011, RequestRefused), (401, 10002, RequestRefused), (401, 10012, RequestRefused),
        (403, None, RequestRefused), (404, None, RequestRefused), (422, None, RequestRefused),
        (403, 1020, Banned), (429, 1015, Banned), (501, None, ServerFailed),
    ],
)
def test_a_failure_that_stays_is_never_retried(
    simulator: Simulator, client: CoinGeckoClient, status: int, code: int | None, kind: type[CoinGeckoError]
) -> None:
    simulator.add_fault(Fault(kind="status", status=status, code=code))
    with pytest.raises(kind) as caught:
        client.simple_price(["bitcoin"])
    assert (caught.value.status, caught.value.attempts, len(simulator.requests)) == (status, 1, 1)


def test_the_wait_is_what_the_server_asks_for(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=7, times=2))
    client.simple_price(["bitcoin"])
    assert waits == [7, 7]


def test_a_server_that_asks_for_no_time_at_all_still_gets_a_pause(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=0))
    client.simple_price(["bitcoin"])
    assert waits == near(0.5)


def test_a_wait_that_cannot_be_read_leaves_the_usual_one(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after="in a while"))
    client.simple_price(["bitcoin"])
    assert waits == near(0.5)


def test_the_reset_time_of_a_keyed_limit_is_waited_for(waits: list[float], budget: SharedBudget) -> None:
    """Keyed answers have no Retry-After; their limit starts anew with a whole UTC minute."""
    noon = datetime(2026, 11, 23, 12, 0, 20, tzinfo=timezone.utc)
    with (
        Simulator(MarketModel(), plan="demo", clock=lambda: noon) as simulator,
        CoinGeckoClient(
            simulator.base_url, "demo", "CG-x", budget, sleep=waits.append, clock=lambda: noon
        ) as client,
    ):
        simulator.add_fault(Fault(kind="status", status=429, reset_after=10))
        client.simple_price(["bitcoin"])
    assert waits == [40]


@pytest.mark.parametrize(("asked", "waited"), [(120, 1), (121, 0)])
def test_more_than_two_minutes_are_not_waited_for(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], asked: int, waited: int
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=asked, times=1))
    if waited:
        client.simple_price(["bitcoin"])
    else:
        with pytest.raises(RateLimited, match="asks to wait 121 s") as caught:
            client.simple_price(["bitcoin"])
        assert (caught.value.retry_after, caught.value.attempts) == (121, 1)
    assert len(waits) == waited


def test_who_has_less_time_waits_less(
    simulator: Simulator, budget: SharedBudget, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind="status", status=503, retry_after=5))
    simulator.add_fault(Fault(kind="status", status=503, retry_after=6))
    with (
        CoinGeckoClient(
            simulator.base_url, "keyless", None, budget, sleep=waits.append, policy=RetryPolicy(longest_wait=5)
        ) as client,
        pytest.raises(ServerFailed, match="asks to wait 6 s"),
    ):
        client.ping()
    assert waits == [5] and client.requests_sent == 2


def test_a_limit_that_outlasts_a_minute_of_waiting_may_be_that_of_the_month(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    """A third wait of the same length would not end it either."""
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40, times=None))
    with pytest.raises(RateLimited, match="credits of this month may be used up") as caught:
        client.ping()
    assert (waits, caught.value.attempts, caught.value.retry_after) == ([40, 40], 3, 40)


def test_a_limit_of_a_few_seconds_says_nothing_of_the_month(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=5, times=None))
    with pytest.raises(RateLimited) as caught:
        client.ping()
    assert "month" not in str(caught.value)


def test_a_failure_after_a_minute_of_limits_is_told_as_what_it_is(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=70))
    simulator.add_fault(Fault(kind="status", status=500, times=None))
    with pytest.raises(ServerFailed):
        client.ping()


@pytest.mark.parametrize("kind", ["cut", "cut_middle"])
def test_a_cut_connection_is_asked_again(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], kind: str
) -> None:
    simulator.add_fault(Fault(kind=kind, times=1))
    assert client.simple_price(["bitcoin"]).points[0].price is not None
    assert waits == near(0.5)


@pytest.mark.parametrize("kind", ["cut", "cut_middle"])
def test_a_connection_that_is_always_cut_fails_in_the_end(
    simulator: Simulator, client: CoinGeckoClient, kind: str
) -> None:
    simulator.add_fault(Fault(kind=kind, times=None))
    with pytest.raises(ConnectionFailed) as caught:
        client.simple_price(["bitcoin"])
    assert (caught.value.status, caught.value.attempts) == (None, 4)
    assert "check the network" in str(caught.value)


def test_a_server_that_hangs_is_given_up_after_the_timeout(
    simulator: Simulator, budget: SharedBudget, waits: list[float]
) -> None:
    """The timeout is shortened, so that the test need not sit through it four times."""
    simulator.add_fault(Fault(kind="hang", seconds=2, times=None))
    limits = RetryPolicy(idle=0.1)
    with (
        CoinGeckoClient(
            simulator.base_url, "keyless", None, budget, sleep=waits.append, policy=limits
        ) as client,
        pytest.raises(ConnectionFailed, match="timed out|ReadTimeout"),
    ):
        client.ping()
    assert client.requests_sent == 4


def test_nobody_at_the_address_is_a_failed_connection(waits: list[float], budget: SharedBudget) -> None:
    with (
        CoinGeckoClient("http://127.0.0.1:9", "keyless", None, budget, sleep=waits.append) as client,
        pytest.raises(Unreachable, match="refused") as caught,
    ):
        client.ping()
    assert caught.value.affects_all, "nobody else has to ask to find that out"


def test_a_connection_that_was_cut_says_nothing_of_other_requests(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="cut", times=None))
    with pytest.raises(ConnectionFailed) as caught:
        client.ping()
    assert not isinstance(caught.value, Unreachable) and not caught.value.affects_all


def test_a_limit_under_status_200_is_waited_for_like_a_429(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind="error_body", retry_after=7, times=2))
    assert client.simple_price(["bitcoin"]).points[0].price is not None
    assert waits == [7, 7]


@pytest.mark.parametrize("kind", ["truncated_json", "html"])
def test_a_success_that_is_none_is_a_bad_answer(
    simulator: Simulator, client: CoinGeckoClient, kind: str
) -> None:
    simulator.add_fault(Fault(kind=kind, times=2))
    with pytest.raises(BadAnswer) as caught:
        client.simple_price(["bitcoin"])
    assert caught.value.status == 200
    with pytest.raises(BadAnswer):
        client.market_chart_range("bitcoin", START, START + timedelta(days=1))


def test_an_empty_object_is_a_missing_price_for_every_coin_and_no_history(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="empty_object", times=2))
    points = client.simple_price(["bitcoin", "ethereum"]).points
    assert [(point.price, point.timestamp) for point in points] == [(None, None)] * 2
    assert json.loads(points[0].payload) == {"bitcoin": {"not_in_answer": True, "answered_instead": []}}
    with pytest.raises(BadAnswer, match="list of prices"):
        client.market_chart_range("bitcoin", START, START + timedelta(days=1))


def test_an_answer_for_another_coin_is_a_missing_price_that_names_it(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="wrong_id", coin="solana", keyed_as="ethereum"))
    answer = client.simple_price(["bitcoin", "solana"])
    assert answer.unasked == ("ethereum",)
    assert [point.price is None for point in answer.points] == [False, True]
    assert "ethereum" in answer.points[1].payload
    assert "was not requested" in caplog.text


def test_an_empty_history_is_announced_and_is_no_error(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="no_points"))
    assert client.market_chart_range("bitcoin", START, START + timedelta(days=1)) == ()
    assert "has no prices of bitcoin" in caplog.text


def test_a_redirect_is_not_followed(play: Callable[..., Any], budget: SharedBudget) -> None:
    """The key would travel to wherever it leads."""
    response = b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:9/\r\nContent-Length: 0\r\n\r\n"
    with (
        play([response]) as url,
        CoinGeckoClient(url, "pro", "CG-x", budget) as client,
        pytest.raises(RequestRefused, match="redirects are not followed"),
    ):
        client.ping()
    assert client.requests_sent == 1


def test_a_body_without_end_is_given_up(
    play: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, budget: SharedBudget
) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.transport.LARGEST_BODY", 1_000)
    parts = [b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + b" " * 5_000]
    with (
        play(parts) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="larger than"),
    ):
        client.ping()


def test_a_chart_of_more_points_than_any_window_has_is_refused(
    play: Callable[..., Any], budget: SharedBudget
) -> None:
    body = json.dumps({"prices": [None] * 5_001}).encode()
    with (
        play([b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="it holds 5,001 points"),
    ):
        client.market_chart_range("bitcoin", START, START + timedelta(days=1))


def test_the_key_is_in_no_error_and_no_log_even_if_the_server_repeats_it(
    play: Callable[..., Any], caplog: pytest.LogCaptureFixture, budget: SharedBudget
) -> None:
    caplog.set_level(logging.DEBUG)
    body = b'{"error":"the key CG-topsecret is unknown"}'
    response = b"HTTP/1.1 401 Unauthorized\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with (
        play([response]) as url,
        CoinGeckoClient(url, "demo", "CG-topsecret", budget) as client,
        pytest.raises(RequestRefused, match=r"the key \[hidden\] is unknown") as caught,
    ):
        client.ping()
    assert "topsecret" not in str(caught.value) + repr(caught.value) + caplog.text + repr(vars(caught.value))


def test_the_simulators_own_minute_limit_is_met_with_its_own_wait(
    waits: list[float], budget: SharedBudget
) -> None:
    with (
        Simulator(MarketModel(), requests_per_minute=2) as simulator,
        CoinGeckoClient(simulator.base_url, "keyless", None, budget, sleep=waits.append) as client,
        pytest.raises(RateLimited),
    ):
        for _ in range(3):
            client.ping()
    assert waits and all(0 < wait <= 60.5 for wait in waits)


def test_the_waits_of_the_retries_are_announced(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=9))
    client.ping()
    assert any("Repeating in 9.0 s: GET /ping answered 429" in message for message in caplog.messages)


def test_the_password_of_a_proxy_is_in_no_error(
    waits: list[float], monkeypatch: pytest.MonkeyPatch, budget: SharedBudget
) -> None:
    """The proxy's URL cannot be read, so nothing is sent; the library quotes it in its error."""
    monkeypatch.setenv("http_proxy", "http://somebody:hunter2@[proxy")
    monkeypatch.setenv("no_proxy", "")
    with (
        CoinGeckoClient("http://api.invalid", "keyless", None, budget, sleep=waits.append) as client,
        pytest.raises(Misconfigured, match="http_proxy is not a usable address") as caught,
    ):
        client.ping()
    assert "hunter2" not in str(caught.value)
    assert (client.requests_sent, waits) == (1, [])


def test_what_a_price_answer_holds_is_handed_on_unjudged(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="text_price", coin="bitcoin"))
    simulator.add_fault(Fault(kind="negative_price", coin="ethereum"))
    simulator.add_fault(Fault(kind="missing_timestamp", coin="solana"))
    text, negative, timeless = client.simple_price(["bitcoin", "ethereum", "solana"]).points
    assert (text.price, negative.price, timeless.timestamp) == ("unavailable", -1.0, None)
    assert all(isinstance(point.timestamp, int) for point in (text, negative))


@pytest.mark.parametrize("target", [b"http://[nonsense", b"", b"/elsewhere"])
def test_where_a_redirect_leads_is_not_even_read(
    play: Callable[..., Any], budget: SharedBudget, target: bytes
) -> None:
    """An address that is none would otherwise be an error of the library's own."""
    response = b"HTTP/1.1 301 Moved\r\nLocation: " + target + b"\r\nContent-Length: 0\r\n\r\n"
    with (
        play([response]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(RequestRefused, match="redirects are not followed"),
    ):
        client.ping()


def test_the_body_of_a_redirect_is_bounded_like_any_other(
    play: Callable[..., Any], budget: SharedBudget, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.transport.LARGEST_BODY", 1_000)
    response = b"HTTP/1.1 301 Moved\r\nLocation: /x\r\nContent-Length: 5000\r\n\r\n" + b" " * 5_000
    with (
        play([response]) as url,
        CoinGeckoClient(url, "keyless", None, budget) as client,
        pytest.raises(BadAnswer, match="larger than"),
    ):
        client.ping()
