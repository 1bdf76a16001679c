"""The lines of a request: all of them carry its id and its client, however many requests there are at once."""

import asyncio
import json
import logging
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from starlette.responses import StreamingResponse
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.logs import configure_logging, current_trace_id, get_logger
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.canaries import PASSWORD, heard
from market_pipeline_tests.logging_state import restored

AT_ONCE = 50
LOCAL = "http://127.0.0.1"
logger = get_logger("market_pipeline.api.testing")


@pytest.fixture
def database(sqlite_database):
    """One is enough: what is tested here does not ask it."""
    return sqlite_database


@pytest.fixture
def app(service_of):
    """The API with endpoints that log in every way an endpoint can, all at the same time."""
    service = service_of(market_symbols="BTC,ETH", api_token=None)
    app, barrier = create_app(service), threading.Barrier(2)

    def meet_another():
        try:
            barrier.wait(2)
        except threading.BrokenBarrierError:
            barrier.reset()

    @app.get("/testing/thread/{symbol}")
    def in_thread(symbol: str):
        logger.info("begin", extra={"said": symbol})
        meet_another()
        logger.info("end", extra={"said": symbol})
        return {"trace_id": current_trace_id()}

    @app.get("/testing/task/{said}")
    async def in_task(said: str):
        for _ in range(5):
            logger.info("turn", extra={"said": said})
            await asyncio.sleep(0.002)
        await asyncio.gather(*(asyncio.to_thread(logger.info, "child", extra={"said": said}) for _ in range(3)))
        return {"trace_id": current_trace_id()}

    @app.get("/testing/failing")
    def failing():
        raise RuntimeError(f"with {PASSWORD}")

    @app.get("/testing/breaking")
    def breaking():
        def body():
            yield "begun"
            raise RuntimeError("under way")

        return StreamingResponse(body())

    with restored():
        logging.getLogger().handlers[:] = []
        configure_logging(service.settings)
        yield app


@pytest.fixture
def written(capsys):
    return lambda: [json.loads(row) for row in capsys.readouterr().err.splitlines()]


def ask_all(ask):
    with ThreadPoolExecutor(AT_ONCE) as pool:
        return list(pool.map(ask, range(AT_ONCE)))


@pytest.mark.parametrize("way", ["thread", "task"])
def test_of_50_requests_at_once_each_line_carries_the_id_of_its_own(app, written, way):
    with TestClient(app, base_url=LOCAL) as client:
        answers = ask_all(lambda n: client.get(f"/testing/{way}/S{n}", headers={"X-Request-ID": f"request-{n:03}"}))
        assert {answer.status_code for answer in answers} == {200}
        assert [answer.json()["trace_id"] for answer in answers] == [f"request-{n:03}" for n in range(AT_ONCE)]
        assert [answer.headers["X-Request-ID"] for answer in answers] == [f"request-{n:03}" for n in range(AT_ONCE)]
        assert client.get("/healthz").status_code == 200
    lines = written()
    by_request = defaultdict(list)
    for line in lines:
        if "said" in line:
            assert line["trace_id"] == f"request-{int(line['said'][1:]):03}", line
        assert line["client_ip"] == "testclient"
        by_request[line["trace_id"]].append(line["message"])
    assert len(by_request) == AT_ONCE + 1
    per_request = 3 if way == "thread" else 9
    assert all(len(told) == per_request for name, told in by_request.items() if name.startswith("request-"))
    answered = [line for line in lines if line["message"] == f"GET /testing/{way}/S7 answered 200"]
    assert len(answered) == 1 and answered[0]["status_code"] == 200 and answered[0]["duration_ms"] > 0
    if way == "thread":
        assert answered[0]["symbol"] == "S7"


def test_over_a_socket_with_connections_that_are_used_again(app, written):
    with served(app) as url:
        def ask(n):
            with requests.Session() as session:
                for turn in range(3):
                    given = f"socket-{n:03}-{turn}"
                    answer = session.get(f"{url}/testing/task/{given}", headers={"X-Request-ID": given}, timeout=30)
                    assert answer.headers["X-Request-ID"] == answer.json()["trace_id"] == given

        ask_all(ask)
    lines = written()
    said = [line for line in lines if "said" in line]
    assert len(said) == AT_ONCE * 3 * 8 and all(line["said"] == line["trace_id"] for line in said)
    assert all(line["client_ip"] == "127.0.0.1" for line in said)
    assert any(line["logger"].startswith("uvicorn") for line in lines), "the server's own lines have our form too"


def test_a_failing_request_tells_why_under_its_id_and_hides_secrets(app, written):
    with TestClient(app, base_url=LOCAL, raise_server_exceptions=False) as client:
        answer = client.get("/testing/failing", headers={"X-Request-ID": "failing-request"})
    assert answer.status_code == 500 and answer.json()["trace_id"] == "failing-request"
    failed, answered = [line for line in written() if line.get("trace_id") == "failing-request"]
    assert failed["level"] == "ERROR" and "RuntimeError: with" in failed["exc_info"]
    assert answered["status_code"] == 500
    assert heard("answer", answer.text) == []


def test_what_breaks_under_way_is_told_under_the_same_id_also_by_the_server(app, written):
    with served(app) as url, pytest.raises(requests.RequestException):
        requests.get(f"{url}/testing/breaking", headers={"X-Request-ID": "breaking-request"}, timeout=30)
    lines = [line for line in written() if "exc_info" in line]
    assert {line["logger"] for line in lines} == {"market_pipeline.api.http.tracing", "uvicorn.error"}
    assert {line["trace_id"] for line in lines} == {"breaking-request"}


def test_the_parts_of_the_page_do_not_hide_what_a_person_looks_for(app, written):
    with TestClient(app, LOCAL) as client:
        for path in ("/", "/page/page.js", "/page/absent.js"):
            client.get(path)
    assert [line["message"] for line in written() if "answered" in line["message"]] == [
        "GET / answered 200", "GET /page/absent.js answered 404",
    ]


def test_a_path_cannot_forge_a_line(app, written):
    with TestClient(app, base_url=LOCAL) as client:
        client.get("/no%0A%7B%22timestamp%22%3A%201%7D", headers={"X-Request-ID": "forged-request"})
        client.get("/testing/task/a%0A%1b%5B2J", headers={"X-Request-ID": "escape-request"})
    assert {line["trace_id"] for line in written()} == {"forged-request", "escape-request"}


def test_a_path_as_long_as_a_server_takes_is_no_such_line(app, written):
    with TestClient(app, base_url=LOCAL) as client:
        client.get(f"/testing/thread/{'x' * 60_000}")
    (answered,) = [line for line in written() if "status_code" in line]
    assert answered["message"].startswith("GET /testing/thread/xxx") and "x... answered" in answered["message"]
    assert len(json.dumps(answered)) < 1000


def test_the_ids_of_strangers_are_no_way_into_a_line(app, written):
    with TestClient(app, base_url=LOCAL) as client:
        for given in ("x" * 65, "a b c d e f", 'quote"quote"', "short", ""):
            answer = client.get("/healthz", headers={"X-Request-ID": given})
            assert answer.headers["X-Request-ID"] != given
    assert all(len(line["trace_id"]) == 36 for line in written())


@pytest.mark.parametrize(("method", "path", "symbol"), [
    ("GET", "/prices/btc", "BTC"), ("HEAD", "/prices/btc", "BTC"), ("GET", "/anomalies/eth", "ETH"),
    ("GET", f"/anomalies/{'a' * 32}", None), ("GET", "/symbols", None),
])
def test_the_line_of_a_request_names_the_symbol_it_is_about(app, written, method, path, symbol):
    with TestClient(app, LOCAL) as client:
        client.request(method, path)
    (answered,) = [line for line in written() if "status_code" in line]
    assert answered["message"].startswith(f"{method} {path} answered") and answered.get("symbol") == symbol
