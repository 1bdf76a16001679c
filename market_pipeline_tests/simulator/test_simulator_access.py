"""Keys, User-Agent and the minute limit, with the bodies and headers of the real API."""

import itertools
import json
import sys
import threading
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from http.client import HTTPConnection
from types import FrameType
from typing import Any

import pytest

from market_pipeline.simulator.access import MinuteLimit, Usage
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.simulator.client import Client, MovableClock

RATE_LIMIT_BODY = (
    '{"status":{"error_code":429,"error_message":"You\'ve exceeded the Rate Limit. Please visit '
    "https://www.coingecko.com/en/api/pricing to subscribe to our API plans for higher rate limits.\"}}"
)
DEMO, PRO = "x-cg-demo-api-key", "x-cg-pro-api-key"


@pytest.mark.parametrize(
    ("plan", "headers", "query", "status", "code"),
    [
        ("keyless", {}, {}, 200, None),
        ("keyless", {DEMO: "CG-x"}, {}, 200, None),
        ("keyless", {PRO: "CG-x"}, {}, 400, 10010),
        ("demo", {DEMO: "CG-x"}, {}, 200, None),
        ("demo", {}, {"x_cg_demo_api_key": "CG-x"}, 200, None),
        ("demo", {}, {}, 401, 10002),
        ("demo", {DEMO: ""}, {}, 401, 10002),
        ("demo", {PRO: "CG-x"}, {}, 400, 10010),
        ("pro", {PRO: "CG-x"}, {}, 200, None),
        ("pro", {}, {"x_cg_pro_api_key": "CG-x"}, 200, None),
        ("pro", {}, {}, 401, 10002),
        ("pro", {DEMO: "CG-x"}, {}, 400, 10011),
    ],
)
def test_each_plan_takes_the_key_of_its_own_kind(
    serve: Callable[..., Client],
    plan: str,
    headers: dict[str, str],
    query: dict[str, str],
    status: int,
    code: int | None,
) -> None:
    answer = serve(plan=plan).get("/ping", headers=headers, **query)
    assert answer.status_code == status
    document = answer.json()
    assert (document.get("error_code") or document.get("status", {}).get("error_code")) == code


@pytest.mark.parametrize("headers", [{}, {"User-Agent": ""}, {"User-Agent": " "}])
def test_a_request_without_a_user_agent_is_refused(client: Client, headers: dict[str, str]) -> None:
    """Sent by the bare library, since requests puts its own name where there is none."""
    with closing(HTTPConnection("127.0.0.1", client.simulator.port, timeout=30)) as connection:
        connection.request("GET", "/api/v3/ping", headers=headers)
        answer = connection.getresponse()
        assert answer.status == 403
        assert "descriptive User-Agent" in json.loads(answer.read())["status"]["error_message"]


def test_a_target_that_is_too_long_is_refused_by_the_edge(client: Client) -> None:
    answer = client.get("/simple/price", ids="x" * 8000, vs_currencies="usd")
    assert answer.status_code == 414
    assert answer.headers["Content-Type"].startswith("text/html")


def test_keyless_429_names_the_seconds_until_a_request_is_free(
    serve: Callable[..., Client], clock: MovableClock
) -> None:
    client = serve(requests_per_minute=2)
    assert client.get("/ping").ok
    clock.advance(seconds=20)
    assert client.get("/ping").ok
    clock.advance(seconds=10)
    refused = client.get("/ping")
    assert (refused.status_code, refused.text) == (429, RATE_LIMIT_BODY)
    assert len(refused.content) == 187
    assert refused.headers["Retry-After"] == "30"
    assert "x-ratelimit-limit" not in refused.headers
    clock.advance(seconds=30)
    assert client.get("/ping").ok


def test_keyed_429_names_a_whole_minute_and_no_retry_after(serve: Callable[..., Client], clock: MovableClock) -> None:
    """The clock stands at 12:00:30; a request is free at 12:01:30, reported as the next whole minute."""
    client, key = serve(plan="demo", requests_per_minute=1), {DEMO: "CG-x"}
    client.get("/ping", headers=key)
    refused = client.get("/ping", headers=key)
    assert (refused.status_code, refused.text) == (429, RATE_LIMIT_BODY)
    assert "Retry-After" not in refused.headers
    assert refused.headers["x-ratelimit-limit"] == "1"
    assert refused.headers["x-ratelimit-remaining"] == "0"
    assert refused.headers["x-ratelimit-reset"] == "2026-11-23 12:02:00 +0000"


def test_the_limit_slides_and_refusals_do_not_lengthen_it(clock: MovableClock) -> None:
    limit = MinuteLimit(3)
    for _ in range(3):
        assert limit.admit(clock.now) is None
        clock.advance(seconds=10)
    free = clock.now + timedelta(seconds=30)
    assert [limit.admit(clock.now) for _ in range(5)] == [free] * 5
    clock.now = free
    assert limit.admit(clock.now) is None
    assert limit.admit(clock.now) == free + timedelta(seconds=10)


def test_a_limit_of_nothing_is_a_mistake(market: MarketModel) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        Simulator(market, requests_per_minute=0)


def test_the_usage_counts_the_answers_of_this_run(serve: Callable[..., Client]) -> None:
    """Answers with status 200 cost a credit; errors do not."""
    client = serve(plan="pro", monthly_credits=3, requests_per_minute=40)
    client.get("/ping", headers={PRO: "CG-x"})
    client.get("/coins/nothing/market_chart/range", headers={PRO: "CG-x"})
    client.simulator.add_fault(Fault(kind="status", status=503))
    client.get("/ping", headers={PRO: "CG-x"})
    first = client.get("/key", headers={PRO: "CG-x"}).json()
    assert (first["current_total_monthly_calls"], first["current_remaining_monthly_calls"]) == (1, 2)
    assert (first["monthly_call_credit"], first["rate_limit_request_per_minute"]) == (3, 40)
    for _ in range(3):
        client.get("/ping", headers={PRO: "CG-x"})
    last = client.get("/key", headers={PRO: "CG-x"}).json()
    assert (last["current_total_monthly_calls"], last["current_remaining_monthly_calls"]) == (5, 0)


def spent_by_two(instruction: int) -> tuple[int, bool]:
    """Let one thread count, stopped before its bytecode `instruction`, where another counts or has to wait.

    Returns what was counted, and whether there is such an instruction.
    """
    usage, reached = Usage(500, 1_000), 0
    other = threading.Thread(target=usage.spend)

    def stop(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal reached
        if frame.f_code is not Usage.spend.__code__:
            return None
        frame.f_trace_opcodes = True
        reached += event == "opcode"
        if event == "opcode" and reached == instruction:
            other.start()
            other.join(0.05)
        return stop

    def spend() -> None:
        sys.settrace(stop)
        usage.spend()

    thread = threading.Thread(target=spend)
    thread.start()
    thread.join()
    if other.ident is not None:
        other.join()
    return usage.as_document()["current_total_monthly_calls"], other.ident is not None


@pytest.mark.skipif(sys.version_info[:2] == (3, 12), reason="the first releases of 3.12 trace no single instructions")
def test_no_interleaving_of_two_threads_loses_an_answer() -> None:
    counts = [count for count, _ in itertools.takewhile(lambda found: found[1], map(spent_by_two, itertools.count(1)))]
    assert len(counts) > 5 and set(counts) == {2}
