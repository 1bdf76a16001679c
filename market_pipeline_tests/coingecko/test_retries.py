"""What is repeated, after which pause, and what the budget and the caller learn of it, over a real socket."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import datetime, timezone
from typing import Any

import pytest

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import (
    BadAnswer,
    Banned,
    BudgetExhausted,
    CoinGeckoError,
    ConnectionFailed,
    RateLimited,
    RequestRefused,
    ServerFailed,
    TransientError,
    Unreachable,
)
from market_pipeline.coingecko.retries import BAN_SECONDS, RetryPolicy
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import Recorder

Connect = Callable[..., CoinGeckoClient]
Reply = Callable[..., AbstractContextManager[str]]


@pytest.fixture
def recorded(simulator: Simulator, recorder: Recorder, connect: Connect) -> CoinGeckoClient:
    """A client whose budget is `recorder`."""
    return connect(simulator.base_url, with_budget=recorder)


def near(*seconds: float) -> list[Any]:
    """Waits that are these, give or take the jitter."""
    return [pytest.approx(wait, abs=0.2001) for wait in seconds]


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_passing_failure_is_repeated_until_it_passes(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], status: int
) -> None:
    simulator.add_fault(Fault(kind="status", status=status, times=3))
    assert len(client.simple_price(["bitcoin"]).points) == 1
    assert client.requests_sent == len(simulator.requests) == 4
    assert waits == near(0.5, 1, 2)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault(kind="status", status=429, times=None), 429, RateLimited),
        (Fault(kind="status", status=503, times=None), 503, ServerFailed),
        (Fault(kind="cut", times=None), None, ConnectionFailed),
        (Fault(kind="cut_middle", times=None), None, ConnectionFailed),
    ],
)
def test_after_three_retries_the_last_error_is_raised(
    simulator: Simulator,
    client: CoinGeckoClient,
    waits: list[float],
    fault: Fault,
    status: int | None,
    kind: type[CoinGeckoError],
) -> None:
    simulator.add_fault(fault)
    with pytest.raises(kind) as caught:
        client.simple_price(["bitcoin"])
    assert (type(caught.value), caught.value.attempts, caught.value.status, len(waits)) == (kind, 4, status, 3)


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault(kind="status", status=400, code=10011), 400, RequestRefused),
        (Fault(kind="status", status=401, code=10012), 401, RequestRefused),
        (Fault(kind="status", status=404), 404, RequestRefused),
        (Fault(kind="status", status=403, code=1020), 403, Banned),
        (Fault(kind="status", status=429, code=1015), 429, Banned),
        (Fault(kind="status", status=501), 501, ServerFailed),
        (Fault(kind="truncated_json"), 200, BadAnswer),
        (Fault(kind="html"), 200, BadAnswer),
    ],
)
def test_a_failure_that_stays_is_never_repeated(
    simulator: Simulator, client: CoinGeckoClient, fault: Fault, status: int, kind: type[CoinGeckoError]
) -> None:
    simulator.add_fault(fault)
    with pytest.raises(kind) as caught:
        client.simple_price(["bitcoin"])
    assert (caught.value.status, caught.value.attempts, len(simulator.requests)) == (status, 1, 1)


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Fault(kind="status", status=429, retry_after=7, times=2), [7, 7]),
        (Fault(kind="status", status=429, retry_after=0), near(0.5)),
        (Fault(kind="status", status=429, retry_after="in a while"), near(0.5)),
        (Fault(kind="status", status=429, retry_after=120), [120]),
        (Fault(kind="error_body", retry_after=7, times=2), [7, 7]),  # a limit under status 200
        (Fault(kind="cut", times=1), near(0.5)),
    ],
)
def test_the_pause_is_what_the_server_asks_for_or_the_usual_one(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float], fault: Fault, expected: list[Any]
) -> None:
    simulator.add_fault(fault)
    assert client.simple_price(["bitcoin"]).points[0].price is not None
    assert waits == expected


def test_the_reset_time_of_a_keyed_limit_is_waited_for(waits: list[float], connect: Connect) -> None:
    """Keyed answers have no Retry-After; their limit renews with a whole UTC minute."""
    noon = datetime(2026, 11, 23, 12, 0, 20, tzinfo=timezone.utc)
    with (
        Simulator(MarketModel(), plan="demo", clock=lambda: noon) as simulator,
        connect(simulator.base_url, "demo", "CG-x", clock=lambda: noon) as client,
    ):
        simulator.add_fault(Fault(kind="status", status=429, reset_after=10))
        client.simple_price(["bitcoin"])
    assert waits == [40]


@pytest.mark.parametrize(("policy", "longest"), [(RetryPolicy(), 120), (RetryPolicy(longest_wait=5), 5)])
def test_a_longer_pause_than_the_longest_wait_ends_the_retries(
    simulator: Simulator, connect: Connect, waits: list[float], policy: RetryPolicy, longest: int
) -> None:
    for pause in (longest, longest + 1):
        simulator.add_fault(Fault(kind="status", status=503, retry_after=pause))
    with (
        connect(simulator.base_url, policy=policy) as client,
        pytest.raises(ServerFailed, match=f"asks to wait {longest + 1} s") as caught,
    ):
        client.ping()
    assert (waits, client.requests_sent, caught.value.retry_after) == ([longest], 2, longest + 1)


def test_a_limit_that_outlasts_a_minute_of_waiting_may_be_that_of_the_month(
    simulator: Simulator, client: CoinGeckoClient, waits: list[float]
) -> None:
    """A third wait of the same length would not end it either."""
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40, times=None))
    with pytest.raises(RateLimited, match="credits of this month may be used up") as caught:
        client.ping()
    assert (waits, caught.value.attempts, caught.value.retry_after) == ([40, 40], 3, 40)


def test_a_limit_of_a_few_seconds_says_nothing_of_the_month(simulator: Simulator, client: CoinGeckoClient) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=5, times=None))
    with pytest.raises(RateLimited) as caught:
        client.ping()
    assert "month" not in str(caught.value)


def test_a_failure_after_a_minute_of_limits_is_reported_as_what_it_is(
    simulator: Simulator, client: CoinGeckoClient
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=70))
    simulator.add_fault(Fault(kind="status", status=500, times=None))
    with pytest.raises(ServerFailed):
        client.ping()


def test_a_server_that_hangs_is_given_up_after_the_timeout(simulator: Simulator, connect: Connect) -> None:
    """The timeout is shortened, so that the test need not sit through it four times."""
    simulator.add_fault(Fault(kind="hang", seconds=2, times=None))
    with (
        connect(simulator.base_url, policy=RetryPolicy(idle=0.1)) as client,
        pytest.raises(ConnectionFailed, match=r"timed out|ReadTimeout") as caught,
    ):
        client.ping()
    assert client.requests_sent == 4
    assert not isinstance(caught.value, Unreachable) and not caught.value.affects_all


def test_the_simulators_own_minute_limit_is_met_with_its_own_wait(waits: list[float], connect: Connect) -> None:
    with Simulator(MarketModel(), requests_per_minute=2) as simulator, connect(simulator.base_url) as client:
        client.ping()
        client.ping()
        with pytest.raises(RateLimited):
            client.ping()
    assert waits and all(0 < wait <= 60.5 for wait in waits)


def test_the_pauses_of_the_retries_are_logged(
    simulator: Simulator, client: CoinGeckoClient, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=9))
    client.ping()
    assert any("Repeating in 9.0 s: GET /ping answered 429" in message for message in caplog.messages)


def test_every_attempt_takes_a_request_of_the_budget_and_reports_its_outcome(
    simulator: Simulator, recorded: CoinGeckoClient, recorder: Recorder
) -> None:
    simulator.add_fault(Fault(kind="status", status=503, times=1))
    simulator.add_fault(Fault(kind="cut", times=1))
    with recorded:
        recorded.ping()
    assert recorder.endpoints == ["/ping"] * 3
    assert sorted(recorder.outcomes) == [("200", None), ("503", None), ("no answer", None)]


@pytest.mark.parametrize(
    ("fault", "pause", "reason"),
    [
        (Fault(kind="status", status=429, retry_after=7), 7, "GET /ping answered 429 and the server asked to wait 7 s"),
        (Fault(kind="error_body", retry_after=30), 30, "asked to wait 30 s"),
        (Fault(kind="throttled", retry_after=30), 30, "asked to wait 30 s"),
        (Fault(kind="status", status=429, code=1015), BAN_SECONDS, "Cloudflare"),
    ],
)
def test_a_pause_that_the_server_asks_for_binds_every_process(
    simulator: Simulator, recorder: Recorder, connect: Connect, fault: Fault, pause: float, reason: str
) -> None:
    simulator.add_fault(fault)
    with (
        connect(simulator.base_url, with_budget=recorder, policy=RetryPolicy(retries=0)) as client,
        pytest.raises(CoinGeckoError),
    ):
        client.ping()
    assert [seconds for _, seconds in recorder.outcomes] == [pause]
    assert reason in recorder.reasons[0]


def test_an_exhausted_budget_sends_nothing_and_is_not_tried_again(
    simulator: Simulator, recorder: Recorder, recorded: CoinGeckoClient, waits: list[float]
) -> None:
    recorder.left = 0
    with recorded, pytest.raises(BudgetExhausted) as caught:
        recorded.ping()
    assert str(caught.value) == "GET /ping was not sent: nothing is left."
    assert isinstance(caught.value, TransientError) and caught.value.affects_all
    assert (caught.value.attempts, caught.value.status, caught.value.retry_after) == (0, None, 90.0)
    assert (simulator.requests, waits, recorder.outcomes, recorded.requests_sent) == ([], [], [], 0)


def test_a_budget_that_ends_between_two_attempts_names_the_failure_of_the_first(
    simulator: Simulator, recorder: Recorder, recorded: CoinGeckoClient
) -> None:
    """With the budget's words alone a person would allow more requests to a server that does not answer."""
    recorder.left = 1
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    message = r"nothing is left\. It was to be sent again: GET /ping answered 503"
    with recorded, pytest.raises(BudgetExhausted, match=message) as caught:
        recorded.ping()
    assert recorder.outcomes == [("503", None)]
    assert caught.value.retry_after == 90.0


@pytest.mark.parametrize(
    ("status", "headers", "kind", "outcome"),
    [
        ("200 OK", ["Content-Length: 99"], ConnectionFailed, "no answer"),
        ("200 OK", [], BadAnswer, "200"),
        # The key would be sent along to any target, and an address that is none is an error of the library's own.
        ("302 Found", ["Location: http://127.0.0.1:9/"], RequestRefused, "302"),
        ("301 Moved", ["Location: http://[nonsense"], RequestRefused, "301"),
        ("301 Moved", ["Location: "], RequestRefused, "301"),
    ],
)
def test_an_attempt_without_a_usable_answer_reports_its_outcome_too(
    reply: Reply, recorder: Recorder, connect: Connect,
    status: str, headers: list[str], kind: type[CoinGeckoError], outcome: str,
) -> None:
    with reply(b"<html>", status, *headers) as url, connect(url, with_budget=recorder) as client, pytest.raises(kind):
        client.ping()
    assert {reported for reported, _ in recorder.outcomes} == {outcome}
    assert len(recorder.outcomes) == len(recorder.endpoints) == client.requests_sent


@pytest.mark.parametrize("status", ["200 OK", "301 Moved"])
def test_a_body_without_end_is_given_up(
    reply: Reply, connect: Connect, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.transport.LARGEST_BODY", 1_000)
    with (
        reply(b" " * 5_000, status, "Location: /x") as url,
        connect(url) as client,
        pytest.raises(BadAnswer, match="larger than"),
    ):
        client.ping()


def test_the_key_is_in_no_error_and_no_log_even_if_the_server_repeats_it(
    reply: Reply, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    body = b'{"error":"the key CG-topsecret is unknown"}'
    with (
        reply(body, "401 Unauthorized") as url,
        connect(url, "demo", "CG-topsecret") as client,
        pytest.raises(RequestRefused, match=r"the key \[hidden\] is unknown") as caught,
    ):
        client.ping()
    assert "topsecret" not in str(caught.value) + repr(caught.value) + caplog.text + repr(vars(caught.value))
