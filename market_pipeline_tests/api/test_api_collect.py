"""One price by HTTP: what is answered is what is stored, and what is refused is kept apart."""

import json
import logging
import socket
import threading
import time
from contextlib import contextmanager
from datetime import datetime, timezone
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import select, update

from market_pipeline.api.app import create_app
from market_pipeline.api.collect_limits import THREADS
from market_pipeline.budget.client_limits import REQUESTS
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.logs import LineFormatter
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.operations_tables import request_budgets
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.builders import wait_for

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def rows(database, table):
    with database.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]


@contextmanager
def a_still_market():
    """A CoinGecko whose prices are those of one moment."""
    moment = utc_now()
    with Simulator(MarketModel(), clock=lambda: moment) as simulator:
        yield simulator


def test_the_answer_is_the_stored_point(client, database):
    before = utc_now()
    answer = client.post("/collect-once/BTC")
    (stored,) = rows(database, tables.raw_prices)
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    assert answer.json() == {
        "symbol": "BTC", "timestamp": iso(stored["timestamp"]), "price": stored["price"], "source": "simple_price",
        "ingested_at": iso(stored["ingested_at"]), "quality": "ok",
    }
    assert before <= stored["ingested_at"] <= utc_now()


def test_it_takes_one_request_for_one_coin(client, simulator):
    assert client.post("/collect-once/eth").json()["symbol"] == "ETH"
    assert [request.query["ids"] for request in simulator.requests] == ["ethereum"]


def test_a_price_that_is_known_keeps_the_time_at_which_it_was_first_stored(api, database):
    with a_still_market() as simulator:
        asking = api(coingecko_base_url=simulator.base_url)
        first, second = (asking.post("/collect-once/BTC").json() for _ in range(2))
    assert first == second
    assert len(rows(database, tables.raw_prices)) == 1


def test_a_symbol_that_is_not_collected_is_told_with_those_that_are(client, simulator):
    answer = client.post("/collect-once/XYZ")
    assert (answer.status_code, answer.json()["supported"]) == (400, ["BTC", "ETH", "SOL", "ADA", "DOT"])
    assert simulator.requests == []


def test_a_refused_price_is_in_the_quarantine_under_the_trace_id(client, simulator, database, caplog):
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    answer = client.post("/collect-once/BTC", headers={"traceparent": PARENT})
    document = answer.json()
    assert answer.status_code == 422 and document["type"].endswith(":quote-refused")
    assert document["reason"] == "negative_price" and "-1.0 is negative" in document["detail"]
    (told,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert "is negative" in told.getMessage() and told.reason == "negative_price"
    (refused,) = rows(database, tables.rejected_prices)
    assert (refused["symbol"], refused["reason"], refused["run_id"]) == ("BTC", "negative_price", PARENT.split("-")[1])
    assert rows(database, tables.raw_prices) == []


def test_a_coin_without_a_price_is_refused(client, simulator):
    simulator.add_fault(Fault(kind="missing_coin", coin="bitcoin"))
    assert client.post("/collect-once/BTC").json()["reason"] == "missing_price"


def test_a_client_is_told_when_it_asked_too_often_by_whichever_worker(api):
    """Refused symbols count too; reading does not and goes on."""
    workers = [api(), api()]
    told = [workers[number % 2].post("/collect-once/XYZ").status_code for number in range(REQUESTS + 1)]
    assert told == [400] * REQUESTS + [429]
    answer = workers[0].post("/collect-once/BTC")
    assert answer.json()["type"].endswith(":too-many-requests")
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert workers[0].get("/prices/BTC").status_code == 200


def test_beyond_what_can_be_under_way_others_are_told_to_come_again(client, monkeypatch):
    monkeypatch.setattr("market_pipeline.api.collect_limits.MAX_IN_PROGRESS", 0)
    answer = client.post("/collect-once/BTC")
    assert answer.status_code == 503 and answer.json()["type"].endswith(":too-many-at-once")
    assert answer.headers["retry-after"] == "1"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_a_locked_database_lets_no_more_wait_than_have_a_place(service_of, database, monkeypatch):
    """Whether a client may collect is asked of the database, which another writer can hold for long."""
    monkeypatch.setattr("market_pipeline.api.collect_limits.MAX_IN_PROGRESS", 2)
    with served(create_app(service_of())) as address:
        told, one_is_told = [], threading.Event()

        def ask():
            told.append(requests.post(f"{address}/collect-once/BTC", timeout=60).status_code)
            one_is_told.set()

        asking = [threading.Thread(target=ask) for _ in range(3)]
        with database.writing():
            for thread in asking:
                thread.start()
            assert one_is_told.wait(20) and told == [503]
        for thread in asking:
            thread.join()
    assert sorted(told) == [200, 200, 503]


class Heard(logging.Handler):
    """The lines as the server writes them, from whichever thread."""

    def __init__(self):
        super().__init__()
        self.lines = []
        self.setFormatter(LineFormatter())

    def emit(self, record):
        self.lines.append(json.loads(self.format(record)))


def test_every_line_of_a_collect_tells_request_symbol_and_client(client, dagster_home):
    """Also those of the threads in which the price is collected and Dagster told."""
    (dagster_home / "history" / "runs.db").write_bytes(b"no database at all " * 100)
    heard, logger = Heard(), logging.getLogger("market_pipeline")
    logger.addHandler(heard)
    level = logger.level
    logger.setLevel(logging.INFO)
    try:
        client.post("/collect-once/btc", headers={"traceparent": PARENT})
    finally:
        logger.removeHandler(heard)
        logger.setLevel(level)
    lines = [line for line in heard.lines if not line["logger"].startswith("market_pipeline.simulator")]
    told = {line["logger"].removeprefix("market_pipeline.") for line in lines}
    assert {"coingecko.transport", "api.endpoints.collect", "api.dagster_reports", "api.http.tracing"} <= told
    assert {line["trace_id"] for line in lines} == {PARENT.split("-")[1]}
    assert {line["client_ip"] for line in lines} == {"testclient"}
    assert {line.get("symbol") for line in lines if line["logger"] != "market_pipeline.api.http.tracing"} == {"BTC"}
    (stored,) = [line for line in lines if line["logger"] == "market_pipeline.api.endpoints.collect"]
    assert stored["rows_affected"] == 1


def test_clients_that_go_away_leave_nothing_taken(service_of, simulator, database):
    """What they asked for is done to its end, and others are served meanwhile and after."""
    simulator.add_fault(Fault(kind="hang", seconds=0.5, times=3))
    app = create_app(service_of())
    with served(app) as address:
        parts = urlsplit(address)
        for _ in range(3):
            with socket.create_connection((parts.hostname, parts.port)) as leaving:
                leaving.sendall(b"POST /collect-once/SOL HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
        with socket.create_connection((parts.hostname, parts.port)) as staying:
            staying.sendall(b"POST /collect-once/BTC HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n")
            assert staying.recv(100).startswith(b"HTTP/1.1 200")
        limits = app.state.collect_limits
        wait_for(lambda: limits.in_progress == 0, 20, "the end of their requests")
    assert {row["symbol"] for row in rows(database, tables.raw_prices)} == {"BTC", "SOL"}


def test_a_price_of_long_ago_is_stored_under_its_own_time(client, simulator, database):
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=3 * 86_400))
    stamp = datetime.fromisoformat(client.post("/collect-once/BTC").json()["timestamp"].replace("Z", "+00:00"))
    assert (datetime.now(timezone.utc) - stamp).days == 3
    assert len(rows(database, tables.raw_prices)) == 1


def test_collects_that_wait_for_a_lock_keep_no_reader_waiting(service_of, database):
    """Somebody holds the budget's row; with connections shared, forty readers and collectors would be stuck."""
    with served(create_app(service_of())) as address:
        assert requests.post(f"{address}/collect-once/BTC", timeout=60).status_code == 200
        told = []
        asking = [
            threading.Thread(target=lambda: told.append(requests.post(f"{address}/collect-once/ETH", timeout=60)))
            for _ in range(THREADS)
        ]
        with database.writing() as holding:
            rows_of_budget = request_budgets.c.account.like("keyless%")
            holding.execute(update(request_budgets).where(rows_of_budget).values(waiting=[]))
            for thread in asking:
                thread.start()
            time.sleep(0.5)
            read = [requests.get(f"{address}/prices/BTC", timeout=5).status_code for _ in range(5)]
            assert (read, told) == ([200] * 5, [])
        for thread in asking:
            thread.join()
    assert [answer.status_code for answer in told] == [200] * THREADS
