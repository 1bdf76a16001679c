"""What the transport asks of the budget and tells it; the budget itself is tested in its own folder."""

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from market_pipeline.coingecko.client import CoinGeckoClient
from market_pipeline.coingecko.errors import (
    BadAnswer,
    Banned,
    BudgetExhausted,
    CoinGeckoError,
    ConnectionFailed,
    TransientError,
)
from market_pipeline.coingecko.retries import BAN_SECONDS, RetryPolicy
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.builders import Recorder

NOON = datetime(2026, 11, 23, 12, 0, 0, 250_000, tzinfo=timezone.utc)


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def asking(simulator: Simulator, recorder: Recorder, waits: list[float]) -> CoinGeckoClient:
    return CoinGeckoClient(simulator.base_url, "keyless", None, recorder, sleep=waits.append)


def test_every_attempt_asks_the_budget_and_tells_how_it_ended(
    simulator: Simulator, asking: CoinGeckoClient, recorder: Recorder
) -> None:
    simulator.add_fault(Fault(kind="status", status=503, times=1))
    simulator.add_fault(Fault(kind="cut", times=1))
    with asking:
        asking.ping()
    assert recorder.asked == ["/ping"] * 3
    assert sorted(recorder.told) == [("200", None), ("503", None), ("no answer", None)]


def test_what_the_server_asks_of_one_is_a_pause_for_everybody(
    simulator: Simulator, asking: CoinGeckoClient, recorder: Recorder
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, retry_after=7))
    with asking:
        asking.ping()
    assert recorder.told == [("429", 7.0), ("200", None)]
    assert recorder.reasons == ["GET /ping answered 429 and the server asked to wait 7 s", ""]


def test_a_block_by_cloudflare_stops_everybody_for_an_hour(
    simulator: Simulator, asking: CoinGeckoClient, recorder: Recorder
) -> None:
    simulator.add_fault(Fault(kind="status", status=429, code=1015))
    with asking, pytest.raises(Banned):
        asking.ping()
    assert recorder.told == [("429", BAN_SECONDS)]
    assert "Cloudflare" in recorder.reasons[0]


@pytest.mark.parametrize("kind", ["throttled", "error_body"])
def test_the_servers_own_pause_wins_over_ours(
    simulator: Simulator, recorder: Recorder, kind: str, waits: list[float]
) -> None:
    simulator.add_fault(Fault(kind=kind, retry_after=30))
    with (
        CoinGeckoClient(simulator.base_url, "keyless", None, recorder, policy=RetryPolicy(retries=0)) as client,
        pytest.raises(CoinGeckoError),
    ):
        client.ping()
    assert [pause for _, pause in recorder.told] == [30.0]
    assert "asked to wait 30 s" in recorder.reasons[0]


def test_an_exhausted_budget_sends_nothing_says_so_and_is_not_asked_again(
    simulator: Simulator, recorder: Recorder, asking: CoinGeckoClient, waits: list[float]
) -> None:
    recorder.left = 0
    with asking, pytest.raises(BudgetExhausted) as caught:
        asking.ping()
    assert str(caught.value) == "GET /ping was not sent: nothing is left."
    assert isinstance(caught.value, TransientError) and caught.value.affects_all
    assert (caught.value.attempts, caught.value.status, caught.value.retry_after) == (0, None, 90.0)
    assert (simulator.requests, waits, recorder.told, asking.requests_sent) == ([], [], [], 0)


def test_a_budget_that_ends_between_two_attempts_ends_the_retries_and_names_what_they_were_for(
    simulator: Simulator, recorder: Recorder, asking: CoinGeckoClient
) -> None:
    """Whoever reads of the budget alone would allow more requests to a server that does not answer."""
    recorder.left = 1
    simulator.add_fault(Fault(kind="status", status=503, times=None))
    said = "nothing is left. It was to be sent again: GET /ping answered 503"
    with asking, pytest.raises(BudgetExhausted, match=said) as caught:
        asking.ping()
    assert recorder.told == [("503", None)]
    assert caught.value.retry_after == 90.0


@pytest.mark.parametrize(
    ("parts", "kind", "outcome"),
    [
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{}"], ConnectionFailed, "no answer"),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n<html>"], BadAnswer, "200"),
        ([b"HTTP/1.1 302 Found\r\nContent-Length: 0\r\n\r\n"], CoinGeckoError, "302"),
    ],
)
def test_an_attempt_without_a_usable_answer_is_told_too(
    play: Callable[..., Any],
    recorder: Recorder,
    waits: list[float],
    parts: list[bytes],
    kind: type[CoinGeckoError],
    outcome: str,
) -> None:
    with (
        play(parts) as url,
        CoinGeckoClient(url, "keyless", None, recorder, sleep=waits.append) as client,
        pytest.raises(kind),
    ):
        client.ping()
    assert {told for told, _ in recorder.told} == {outcome}
    assert len(recorder.told) == len(recorder.asked)


@pytest.mark.parametrize("ahead", [-3, 0, 61])
def test_the_clients_clock_is_compared_with_the_servers(recorder: Recorder, ahead: int) -> None:
    """The server's header counts whole seconds."""
    with (
        Simulator(MarketModel(), clock=lambda: NOON) as simulator,
        CoinGeckoClient(
            simulator.base_url, "keyless", None, recorder, clock=lambda: NOON + timedelta(seconds=ahead)
        ) as client,
    ):
        assert client.clock_skew is None
        client.ping()
        assert client.clock_skew == ahead + 0.25


def test_a_server_that_tells_no_time_has_no_skew(play: Callable[..., Any], recorder: Recorder) -> None:
    body = b'{"gecko_says":"hi"}'
    response = b"HTTP/1.1 200 OK\r\nDate: today\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    with play([response]) as url, CoinGeckoClient(url, "keyless", None, recorder) as client:
        client.ping()
        assert client.clock_skew is None
