"""Large answers: two at once, sent in pieces, and their places given back whatever happens."""

import asyncio
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pyarrow as pa
import pytest
import requests

from market_pipeline.api import large_responses
from market_pipeline.api.endpoints import prices
from market_pipeline.storage.engine import Database
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.api.reads.rows import ARROW, points_of, some_prices
from market_pipeline_tests.builders import wait_for

HEADERS = {"Accept": ARROW}


@pytest.fixture
def few_are_large(monkeypatch):
    """More than three rows are many, and a piece is a kilobyte."""
    monkeypatch.setattr(prices, "LARGE_FROM", 3)
    monkeypatch.setattr(large_responses, "_CHUNK_BYTES", 1024)


def in_progress(asking):
    """How many large answers the application of a test client builds or sends."""
    return asking.app.state.arrow_reads.large


@pytest.mark.usefixtures("few_are_large")
def test_the_third_large_answer_at_once_is_refused(client, database):
    client.app.state.arrow_reads.large = large_responses.MAX_LARGE
    stored = some_prices(database)
    answer = client.get("/prices/BTC?limit=4", headers=HEADERS)
    assert answer.status_code == 503
    assert answer.json()["type"].endswith(":too-many-at-once")
    assert answer.headers["retry-after"] == "1"
    # Small ones and other formats need no place.
    assert points_of(client.get("/prices/BTC?limit=3", headers=HEADERS)) == stored[:3]
    assert points_of(client.get("/prices/BTC?limit=4")) == stored[:4]


@pytest.mark.usefixtures("few_are_large")
def test_a_large_answer_over_a_socket_is_whole_and_leaves_its_place(app_over, database):
    some_prices(database, count=2000)
    app = app_over(database)
    with served(app) as address:
        for _ in range(3):
            answer = requests.get(f"{address}/prices/BTC?limit=2000", headers=HEADERS, timeout=30)
            assert answer.status_code == 200
            assert int(answer.headers["content-length"]) == len(answer.content) > 10 * 1024
            assert len(pa.ipc.open_stream(answer.content).read_all()) == 2000
    assert app.state.arrow_reads.large == 0


@pytest.mark.usefixtures("few_are_large")
def test_the_place_is_given_back_after_every_kind_of_end(client, client_over, database, tmp_path):
    some_prices(database)
    tag = client.get("/prices/BTC?limit=4", headers=HEADERS).headers["etag"]
    again = client.get("/prices/BTC?limit=4", headers={**HEADERS, "If-None-Match": tag})
    assert (again.status_code, in_progress(client)) == (304, 0)
    assert client.head("/prices/BTC?limit=4", headers=HEADERS).status_code == 200
    assert in_progress(client) == 0
    with database.writing() as connection:
        connection.exec_driver_sql("DROP TABLE raw_prices")
    assert client.get("/prices/BTC?limit=4", headers=HEADERS).status_code == 500
    assert in_progress(client) == 0


@pytest.mark.usefixtures("few_are_large")
def test_who_takes_too_long_to_read_is_cut_off(app_over, sqlite_database, monkeypatch):
    """Else two who read nothing would keep everybody else from reading."""
    monkeypatch.setattr(large_responses, "_SECONDS_TO_SEND", 0.2)
    some_prices(sqlite_database, count=100)
    app = app_over(sqlite_database)
    seen, during = [], []

    async def send(message):
        seen.append(message)
        if message["type"] == "http.response.body":
            during.append(app.state.arrow_reads.large)
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        asyncio.run(asked(app, "limit=100", send))
    assert [message["type"] for message in seen] == ["http.response.start", "http.response.body"]
    assert during == [1]
    assert app.state.arrow_reads.large == 0


@pytest.mark.usefixtures("few_are_large")
def test_a_client_that_goes_away_gives_its_place_back(app_over, sqlite_database):
    app = app_over(sqlite_database)
    some_prices(sqlite_database, count=100)

    async def send(message):
        if message["type"] == "http.response.body":
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        asyncio.run(asked(app, "limit=100", send))
    assert app.state.arrow_reads.large == 0


@pytest.fixture
def locked(postgres_database):
    """A database in which reading prices waits, with `release()` to end that."""
    some_prices(postgres_database)
    other = Database(postgres_database.url)
    with ExitStack() as holding:
        connection = holding.enter_context(other.writing())
        connection.exec_driver_sql("LOCK TABLE raw_prices IN ACCESS EXCLUSIVE MODE")
        yield postgres_database, holding.close
    other.dispose()


def waiting_reads(database):
    """How many reads of prices wait for the lock."""
    query = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    with database.reading() as connection:
        return connection.exec_driver_sql(query).scalar()


def test_arrow_that_waits_keeps_no_other_reader_waiting(app_over, locked, monkeypatch):
    """Nor does it wait for a thread without end."""
    monkeypatch.setattr(large_responses, "_SECONDS_TO_START", 0.2)
    database, release = locked
    with served(app_over(database)) as address, ThreadPoolExecutor(16) as pool:
        url = f"{address}/prices/BTC?limit=3"
        answers = [pool.submit(requests.get, url, headers=HEADERS, timeout=30) for _ in range(16)]
        wait_for(lambda: waiting_reads(database) == large_responses.ARROW_THREADS, 10, "waiting for the lock")
        assert requests.get(f"{address}/anomalies", timeout=5).status_code == 200
        refused = 16 - large_responses.ARROW_THREADS
        wait_for(lambda: sum(answer.done() for answer in answers) == refused, 10, "a refusal of the others")
        release()
        found = Counter(answer.result().status_code for answer in answers)
    assert found == {200: large_responses.ARROW_THREADS, 503: refused}


def test_the_read_of_a_client_that_left_is_given_up(app_over, locked):
    database, _ = locked
    with served(app_over(database)) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as client:
            client.sendall(f"GET /prices/BTC HTTP/1.1\r\nHost: {host}\r\nAccept: {ARROW}\r\n\r\n".encode())
            wait_for(lambda: waiting_reads(database) == 1, 10, "waiting for the lock")
        wait_for(lambda: waiting_reads(database) == 0, 5, "giving up")


async def asked(app, query, send):
    scope = {
        "type": "http", "http_version": "1.1", "method": "GET", "scheme": "http", "path": "/prices/BTC",
        "raw_path": b"/prices/BTC", "query_string": query.encode(), "root_path": "", "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000), "headers": [(b"host", b"127.0.0.1:8000"), (b"accept", ARROW.encode())],
    }

    async def receive():
        await asyncio.Event().wait()

    await app(scope, receive, send)
