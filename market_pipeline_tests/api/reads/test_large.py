"""Large answers: two at once, sent in chunks, and their slots released whatever happens."""

import asyncio
import socket
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any

import pyarrow as pa
import pytest
import requests
from fastapi import FastAPI
from starlette.testclient import TestClient
from starlette.types import Message

from market_pipeline.api import large_responses
from market_pipeline.api.endpoints import prices
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.reads.rows import ARROW, points_of, some_prices
from market_pipeline_tests.api.serving import kind_of, served
from market_pipeline_tests.builders import wait_for

HEADERS = {"Accept": ARROW}

AppOver = Callable[..., FastAPI]
Locked = tuple[Database, Callable[[], None]]


@pytest.fixture
def few_are_large(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than three rows are many, and a chunk is a kilobyte."""
    monkeypatch.setattr(prices, "LARGE_FROM", 3)
    monkeypatch.setattr(large_responses, "CHUNK_BYTES", 1024)


def in_progress(app: Any) -> int:
    """How many large answers `app` builds or sends."""
    return int(app.state.arrow_reads.large)


@pytest.mark.usefixtures("few_are_large")
def test_the_third_large_answer_at_once_is_refused(client: TestClient, database: Database) -> None:
    app: Any = client.app
    app.state.arrow_reads.large = large_responses.MAX_LARGE
    stored = some_prices(database)
    answer = client.get("/prices/BTC?limit=4", headers=HEADERS)
    assert (answer.status_code, kind_of(answer)) == (503, "too-many-at-once")
    assert answer.headers["retry-after"] == "1"
    # Small ones and other formats need no slot.
    assert points_of(client.get("/prices/BTC?limit=3", headers=HEADERS)) == stored[:3]
    assert points_of(client.get("/prices/BTC?limit=4")) == stored[:4]


@pytest.mark.usefixtures("few_are_large")
def test_a_large_answer_over_a_socket_is_whole_and_releases_its_slot(
    app_over: AppOver, database: Database
) -> None:
    some_prices(database, count=2000)
    app = app_over(database)
    with served(app) as address:
        for _ in range(3):
            answer = requests.get(f"{address}/prices/BTC?limit=2000", headers=HEADERS, timeout=30)
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == len(answer.content) > 10 * 1024
            assert len(pa.ipc.open_stream(answer.content).read_all()) == 2000
    assert in_progress(app) == 0


@pytest.mark.usefixtures("few_are_large")
def test_the_slot_is_released_after_every_kind_of_end(client: TestClient, database: Database) -> None:
    some_prices(database)
    tag = client.get("/prices/BTC?limit=4", headers=HEADERS).headers["etag"]
    again = client.get("/prices/BTC?limit=4", headers={**HEADERS, "If-None-Match": tag})
    assert (again.status_code, in_progress(client.app)) == (304, 0)
    assert client.head("/prices/BTC?limit=4", headers=HEADERS).status_code == 200
    assert in_progress(client.app) == 0
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE raw_prices")
    assert client.get("/prices/BTC?limit=4", headers=HEADERS).status_code == 500
    assert in_progress(client.app) == 0


@pytest.mark.usefixtures("few_are_large")
def test_a_client_that_reads_too_slowly_is_cut_off(
    app_over: AppOver, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Otherwise two clients that read nothing would block all others."""
    monkeypatch.setattr(large_responses, "SECONDS_TO_SEND", 0.2)
    some_prices(database, count=100)
    app = app_over(database)
    seen, during = [], []

    async def send(message: Message) -> None:
        seen.append(message)
        if message["type"] == "http.response.body":
            during.append(in_progress(app))
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(request(app, "limit=100", send))
    assert [message["type"] for message in seen] == ["http.response.start", "http.response.body"]
    assert during == [1]
    assert in_progress(app) == 0


@pytest.mark.usefixtures("few_are_large")
def test_a_client_that_disconnects_releases_its_slot(app_over: AppOver, database: Database) -> None:
    app = app_over(database)
    some_prices(database, count=100)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(request(app, "limit=100", send))
    assert in_progress(app) == 0


@pytest.fixture
def locked(postgres_database: Database) -> Iterator[Locked]:
    """A database in which reading prices waits, with `release()` to end that."""
    some_prices(postgres_database)
    other = Database(postgres_database.url)
    with ExitStack() as holding:
        connection = holding.enter_context(other.writing())
        connection.exec_driver_sql("LOCK TABLE raw_prices IN ACCESS EXCLUSIVE MODE")
        yield postgres_database, holding.close
    other.dispose()


def waiting_reads(database: Database) -> int:
    """How many reads of prices wait for the lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.reading() as connection:
        return int(connection.exec_driver_sql(query).scalar_one())


def test_arrow_that_waits_delays_no_other_reader(
    app_over: AppOver, locked: Locked, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor does it wait for a thread for ever."""
    monkeypatch.setattr(large_responses, "SECONDS_TO_START", 0.2)
    database, release = locked
    with served(app_over(database)) as address, ThreadPoolExecutor(16) as pool:
        url = f"{address}/prices/BTC?limit=3"
        answers = [pool.submit(requests.get, url, headers=HEADERS, timeout=30) for _ in range(16)]
        wait_for(lambda: waiting_reads(database) == large_responses.ARROW_THREADS, 60, "waiting for the lock")
        assert requests.get(f"{address}/anomalies", timeout=5).status_code == 200
        refused = 16 - large_responses.ARROW_THREADS
        wait_for(lambda: sum(answer.done() for answer in answers) == refused, 60, "a refusal of the others")
        release()
        found = Counter(answer.result().status_code for answer in answers)
    assert found == {200: large_responses.ARROW_THREADS, 503: refused}


def test_the_read_of_a_client_that_left_is_cancelled(app_over: AppOver, locked: Locked) -> None:
    database, _ = locked
    with served(app_over(database)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"GET /prices/BTC HTTP/1.1\r\nHost: {host}\r\nAccept: {ARROW}\r\n\r\n".encode())
            wait_for(lambda: waiting_reads(database) == 1, 60, "waiting for the lock")
        wait_for(lambda: waiting_reads(database) == 0, 60, "giving up")


async def request(app: FastAPI, query: str, send: Callable[[Message], Awaitable[None]]) -> None:
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/prices/BTC",
        "raw_path": b"/prices/BTC", "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000), "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", ARROW.encode())],
    }

    async def receive() -> Message:
        await asyncio.Event().wait()
        return {}

    await app(scope, receive, send)
