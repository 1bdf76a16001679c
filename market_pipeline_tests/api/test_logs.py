"""The log lines of a request: each has its trace id and client, however many requests there are at once."""

import asyncio
import json
import logging
import threading
import uuid
from collections import defaultdict
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import pytest
import requests
from fastapi import FastAPI
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.http.tracing import trace_id_of
from market_pipeline.api.service import Service
from market_pipeline.logs import configure_logging, current_trace_id, get_logger
from market_pipeline_tests.api.serving import asking, served
from market_pipeline_tests.canaries import PASSWORD, heard
from market_pipeline_tests.logging_state import restored

AT_ONCE = 50
PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
IN_PARENT = PARENT.split("-")[1]
logger = get_logger("market_pipeline.api.testing")
T = TypeVar("T")
Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def app(service_of: Callable[..., Service]) -> Iterator[FastAPI]:
    """The API with endpoints that log in every way an endpoint can, all at the same time."""
    service = service_of(market_symbols="BTC,ETH", api_token=None)
    app, barrier = create_app(service), threading.Barrier(2)

    def meet_another() -> None:
        try:
            barrier.wait(2)
        except threading.BrokenBarrierError:
            barrier.reset()

    @app.get("/testing/thread/{symbol}")
    def in_thread(symbol: str) -> dict[str, str | None]:
        logger.info("begin", extra={"word": symbol})
        meet_another()
        logger.info("end", extra={"word": symbol})
        return {"trace_id": current_trace_id()}

    @app.get("/testing/task/{word}")
    async def in_task(word: str) -> dict[str, str | None]:
        for _ in range(5):
            logger.info("turn", extra={"word": word})
            await asyncio.sleep(0.002)
        await asyncio.gather(*(asyncio.to_thread(logger.info, "child", extra={"word": word}) for _ in range(3)))
        return {"trace_id": current_trace_id()}

    @app.get("/testing/failing")
    def failing() -> None:
        raise RuntimeError(f"with {PASSWORD}")

    @app.get("/testing/breaking")
    def breaking() -> StreamingResponse:
        def body() -> Iterator[str]:
            yield "begun"
            raise RuntimeError("under way")

        return StreamingResponse(body())

    with restored():
        logging.getLogger().handlers[:] = []
        configure_logging(service.settings)
        yield app


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Written:
    return lambda: [json.loads(row) for row in capsys.readouterr().err.splitlines()]


def at_once(send: Callable[[int], T]) -> list[T]:
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(send, range(AT_ONCE)))


@pytest.mark.parametrize(("way", "lines_of_one"), [("thread", 3), ("task", 9)])
def test_of_50_requests_at_once_each_line_has_the_id_of_its_own(
    app: FastAPI, written: Written, way: str, lines_of_one: int
) -> None:
    """Over a socket, with connections that are used again."""
    with served(app) as url:

        def send(n: int) -> None:
            with requests.Session() as session:
                for turn in range(2):
                    given = f"S{n:03}-request-{turn}"
                    answer = session.get(f"{url}/testing/{way}/{given}", headers={"X-Request-ID": given}, timeout=30)
                    assert answer.headers["X-Request-ID"] == answer.json()["trace_id"] == given

        at_once(send)
    lines = written()
    by_request = defaultdict(list)
    for line in lines:
        if "client_ip" in line:
            assert line.get("word", line["trace_id"]) == line["trace_id"] and line["client_ip"] == "127.0.0.1"
            by_request[line["trace_id"]].append(line)
    assert len(by_request) == AT_ONCE * 2
    assert {len(found) for found in by_request.values()} == {lines_of_one}
    answered = by_request["S007-request-1"][-1]
    assert answered["message"] == f"GET /testing/{way}/S007-request-1 answered 200"
    assert answered["status_code"] == 200 and answered["duration_ms"] > 0
    assert answered.get("symbol") == ("S007-REQUEST-1" if way == "thread" else None)
    assert any(line["logger"].startswith("uvicorn") for line in lines), "the server's own lines have our form too"


def test_an_unexpected_error_is_logged_under_its_id_without_secrets(app: FastAPI, written: Written) -> None:
    """Also one that breaks an answer which has begun, in the server's own line too."""
    with asking(app) as client:
        answer = client.get("/testing/failing", headers={"X-Request-ID": "failing-request"})
    assert answer.status_code == 500 and answer.json()["trace_id"] == "failing-request"
    failed, answered = [line for line in written() if line.get("trace_id") == "failing-request"]
    assert failed["level"] == "ERROR" and "RuntimeError: with" in failed["exc_info"]
    assert answered["status_code"] == 500 and heard("answer", answer.text) == []
    with served(app) as url, pytest.raises(requests.RequestException):
        requests.get(f"{url}/testing/breaking", headers={"X-Request-ID": "breaking-request"}, timeout=30)
    lines = [line for line in written() if "exc_info" in line]
    assert {line["logger"] for line in lines} == {"market_pipeline.api.http.tracing", "uvicorn.error"}
    assert {line["trace_id"] for line in lines} == {"breaking-request"}


@pytest.mark.parametrize(("method", "path", "symbol"), [
    ("GET", "/prices/btc", "BTC"), ("HEAD", "/prices/btc", "BTC"), ("GET", "/anomalies/eth", "ETH"),
    ("GET", f"/anomalies/{'a' * 32}", None), ("GET", "/symbols", None), ("GET", "/page/absent.js", None),
])
def test_the_line_of_a_request_has_its_symbol(
    app: FastAPI, written: Written, method: str, path: str, symbol: str | None
) -> None:
    """The page's files have no line: they would crowd out the others."""
    with asking(app) as client:
        client.get("/page/page.js")
        client.request(method, path)
    (answered,) = [line for line in written() if "status_code" in line]
    assert answered["message"].startswith(f"{method} {path} answered") and answered.get("symbol") == symbol


def test_no_request_can_forge_a_line_or_fill_the_log(app: FastAPI, written: Written) -> None:
    with asking(app) as client:
        client.get("/no%0A%7B%22timestamp%22%3A%201%7D", headers={"X-Request-ID": "forged-request"})
        client.get("/testing/task/a%0A%1b%5B2J", headers={"X-Request-ID": "escape-request"})
        assert {line["trace_id"] for line in written()} == {"forged-request", "escape-request"}
        client.get(f"/testing/thread/{'x' * 60_000}")
        (answered,) = [line for line in written() if "status_code" in line]
        assert answered["message"].startswith("GET /testing/thread/xxx") and "x... answered" in answered["message"]
        assert len(json.dumps(answered)) < 1000
        for given in ("x" * 65, "a b c d e f", 'quote"quote"', "short", ""):
            answer = client.get("/healthz", headers={"X-Request-ID": given})
            assert answer.headers["X-Request-ID"] != given
        assert all(len(line["trace_id"]) == 36 for line in written())


def test_the_trace_id_is_the_callers_if_it_is_valid(client: TestClient) -> None:
    for headers in ({"traceparent": PARENT}, {"X-Request-ID": IN_PARENT}):
        assert client.get("/healthz", headers=headers).headers["X-Request-ID"] == IN_PARENT
    assert trace_id_of({"traceparent": f"01{PARENT[2:]}-more"}) == IN_PARENT, "a later version may have more"
    for headers in ({}, {"traceparent": PARENT.replace(IN_PARENT, "0" * 32)}, {"traceparent": f"{PARENT}-more"},
                    {"traceparent": "ff" + PARENT[2:]}, {"x-request-id": "a\nb" * 9}, {"x-request-id": "short"}):
        assert uuid.UUID(trace_id_of(headers)).version == 4
