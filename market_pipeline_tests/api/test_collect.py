"""POST /collect-once: the answer is what is stored, refusals are stored apart and failures described truthfully."""

import json
import logging
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit

import pytest
import requests
from sqlalchemy import delete, text, update
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.change_limits import THREADS
from market_pipeline.api.service import Service
from market_pipeline.budget.client_limits import REQUESTS
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import iso, next_month, start_of_day, utc_now
from market_pipeline.logs import LineFormatter
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, POINTS_ONLY, VALUES, Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.operations_tables import request_budgets
from market_pipeline_tests.api.serving import SYMBOLS, both_databases, kind_of, served
from market_pipeline_tests.builders import stored_rows, wait_for
from market_pipeline_tests.canaries import KEY, heard

PARENT = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
TRACE_ID = PARENT.split("-")[1]
POST = b"POST /collect-once/%s HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 0\r\n\r\n"
WITH_KEY = {"coingecko_plan": "demo", "coingecko_api_key": KEY}
FOR_A_COIN = {"wrong_id", *LISTING_ONLY}
REFUSED = VALUES | {"missing_coin", "missing_price", "wrong_id", "empty_object"}
HARMLESS = POINTS_ONLY | LISTING_ONLY | {"stale_timestamp"}

Api = Callable[..., TestClient]


@pytest.fixture(autouse=True)
def without_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("market_pipeline.coingecko.retries._backoff", lambda number: 0.0)


@pytest.fixture
def simulator() -> Iterator[Simulator]:
    """A simulator whose time stands still: its prices do not change."""
    now = utc_now()
    with Simulator(MarketModel(), clock=lambda: now) as running:
        yield running


@both_databases
def test_the_answer_is_the_stored_point_and_stays_so(
    database: Database, client: TestClient, simulator: Simulator
) -> None:
    """A price that was stored before has the time at which it was first stored."""
    before = utc_now()
    first, second = client.post("/collect-once/eth"), client.post("/collect-once/ETH")
    (stored,) = stored_rows(database, tables.raw_prices)
    assert first.status_code == 200 and first.headers["cache-control"] == "no-store"
    assert first.json() == second.json() == {
        "symbol": "ETH", "timestamp": iso(stored["timestamp"]), "price": stored["price"], "source": "simple_price",
        "ingested_at": iso(stored["ingested_at"]), "quality": "ok",
    }
    assert before <= stored["ingested_at"] <= utc_now()
    assert [request.query["ids"] for request in simulator.requests] == ["ethereum"] * 2


def test_a_price_of_long_ago_is_stored_under_its_own_time(
    client: TestClient, simulator: Simulator, database: Database
) -> None:
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=3 * 86_400))
    stamp = datetime.fromisoformat(client.post("/collect-once/BTC").json()["timestamp"].replace("Z", "+00:00"))
    assert (utc_now() - stamp).days == 3 and len(stored_rows(database, tables.raw_prices)) == 1


@both_databases
def test_a_refused_price_is_in_the_quarantine_under_the_trace_id(
    database: Database, client: TestClient, simulator: Simulator, caplog: pytest.LogCaptureFixture
) -> None:
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    answer = client.post("/collect-once/BTC", headers={"traceparent": PARENT})
    assert (answer.status_code, kind_of(answer)) == (422, "quote-refused")
    assert answer.json()["reason"] == "negative_price" and "-1.0" in answer.json()["detail"]
    (warning,) = [record for record in caplog.records if record.levelname == "WARNING"]
    assert vars(warning)["reason"] == "negative_price"
    (refused,) = stored_rows(database, tables.rejected_prices)
    assert (refused["symbol"], refused["reason"], refused["run_id"]) == ("BTC", "negative_price", TRACE_ID)
    assert stored_rows(database, tables.raw_prices) == []


def test_an_unsupported_symbol_costs_no_request(client: TestClient, simulator: Simulator) -> None:
    answer = client.post("/collect-once/XYZ")
    assert (answer.status_code, answer.json()["supported"]) == (400, list(SYMBOLS))
    assert simulator.requests == []


@both_databases
def test_the_limit_of_a_client_counts_in_every_worker(database: Database, api: Api) -> None:
    """Requests for unsupported symbols count too; reading does not and goes on."""
    workers = [api(), api()]
    statuses = [workers[number % 2].post("/collect-once/XYZ").status_code for number in range(REQUESTS + 1)]
    assert statuses == [400] * REQUESTS + [429]
    answer = workers[0].post("/collect-once/BTC")
    assert kind_of(answer) == "too-many-requests" and 1 <= int(answer.headers["retry-after"]) <= 60
    assert workers[0].get("/prices/BTC").status_code == 200


def test_a_locked_database_lets_no_more_wait_than_there_are_places(
    service_of: Callable[..., Service], database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("market_pipeline.api.change_limits.MAX_IN_PROGRESS", 2)
    with served(create_app(service_of())) as address, ThreadPoolExecutor(3) as pool:
        with database.writing():
            posted = [pool.submit(requests.post, f"{address}/collect-once/BTC", timeout=60) for _ in range(3)]
            wait_for(lambda: any(answer.done() for answer in posted), 20, "a refusal")
            (refused,) = [answer.result() for answer in posted if answer.done()]
            assert refused.status_code == 503 and refused.json()["type"].endswith(":too-many-at-once")
            assert refused.headers["retry-after"] == "1"
        assert sorted(answer.result().status_code for answer in posted) == [200, 200, 503]


@both_databases
def test_collects_that_wait_for_a_lock_delay_no_reader(
    database: Database, service_of: Callable[..., Service]
) -> None:
    """Another writer locks the budget's row; with shared connections forty readers and collectors would be stuck."""
    app = create_app(service_of())
    with served(app) as address, ThreadPoolExecutor(THREADS) as pool:
        assert requests.post(f"{address}/collect-once/BTC", timeout=60).status_code == 200
        with database.writing() as holding:
            rows_of_budget = request_budgets.c.account.like("keyless%")
            holding.execute(update(request_budgets).where(rows_of_budget).values(waiting=[]))
            posted = [pool.submit(requests.post, f"{address}/collect-once/ETH", timeout=60) for _ in range(THREADS)]
            wait_for(lambda: app.state.change_limits.in_progress == THREADS, 20, "the collects")
            read = [requests.get(f"{address}/prices/BTC", timeout=5).status_code for _ in range(5)]
            assert (read, [answer for answer in posted if answer.done()]) == ([200] * 5, [])
        assert [answer.result().status_code for answer in posted] == [200] * THREADS


def test_clients_that_leave_hold_no_place(
    service_of: Callable[..., Service], simulator: Simulator, database: Database
) -> None:
    """Their collects run to the end, and others are served meanwhile and after."""
    simulator.add_fault(Fault(kind="hang", seconds=0.5, times=3))
    app = create_app(service_of())
    with served(app) as address:
        there = (str(urlsplit(address).hostname), urlsplit(address).port or 0)
        for _ in range(3):
            with socket.create_connection(there) as leaving:
                leaving.sendall(POST % b"SOL")
        with socket.create_connection(there) as staying:
            staying.sendall(POST % b"BTC")
            assert staying.recv(100).startswith(b"HTTP/1.1 200")
        wait_for(lambda: app.state.change_limits.in_progress == 0, 20, "the end of the collects")
    assert {row["symbol"] for row in stored_rows(database, tables.raw_prices)} == {"BTC", "SOL"}


class Lines(logging.Handler):
    """The lines as the server writes them, from every thread."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[dict[str, Any]] = []
        self.setFormatter(LineFormatter())

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(json.loads(self.format(record)))


def test_every_line_of_a_collect_has_request_symbol_and_client(
    client: TestClient, dagster_home: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Also those of the threads that collect the price and report it to Dagster."""
    (dagster_home / "history" / "runs.db").write_bytes(b"no database at all " * 100)
    handler, logger = Lines(), logging.getLogger("market_pipeline")
    monkeypatch.setattr(logger, "handlers", [*logger.handlers, handler])
    caplog.set_level(logging.INFO, "market_pipeline")
    client.post("/collect-once/btc", headers={"traceparent": PARENT})
    lines = [line for line in handler.lines if not line["logger"].startswith("market_pipeline.simulator")]
    loggers = {line["logger"].removeprefix("market_pipeline.") for line in lines}
    ours = {"coingecko.transport", "api.endpoints.collect", "dagster_instance.connection", "api.http.tracing"}
    assert ours <= loggers
    assert {line["trace_id"] for line in lines} == {TRACE_ID}
    assert {line["client_ip"] for line in lines} == {"testclient"}
    assert {line.get("symbol") for line in lines if not line["logger"].endswith("tracing")} == {"BTC"}
    (stored,) = [line for line in lines if line["logger"].endswith("endpoints.collect")]
    assert stored["rows_affected"] == 1


@both_databases
def test_whatever_coingecko_does_the_answer_is_true_and_documented(
    database: Database, api: Api, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr("market_pipeline.pipeline.client_factory.RetryPolicy", partial(RetryPolicy, idle=0.2))
    with Simulator(MarketModel(), plan="demo") as simulator:
        client = api(**WITH_KEY, coingecko_base_url=simulator.base_url)
        documented = client.get("/openapi.json").json()["paths"]["/collect-once/{symbol}"]["post"]["responses"]
        for kind in sorted(KINDS):
            simulator.clear_faults()
            empty(database)
            seconds, coin = (0.5 if kind == "hang" else None), ("bitcoin" if kind in FOR_A_COIN else None)
            simulator.add_fault(Fault(kind=kind, times=None, seconds=seconds, coin=coin))
            answer = client.post("/collect-once/BTC")
            stored, refused = (stored_rows(database, table) for table in (tables.raw_prices, tables.rejected_prices))
            assert str(answer.status_code) in documented and heard(kind, answer.text + str(answer.headers)) == []
            if kind in HARMLESS:
                (row,) = stored
                assert (answer.status_code, refused) == (200, []), kind
                assert (row["price"], iso(row["timestamp"])) == (answer.json()["price"], answer.json()["timestamp"])
            elif kind in REFUSED:
                assert (answer.status_code, kind_of(answer), stored) == (422, "quote-refused", []), kind
                assert [row["reason"] for row in refused] == [answer.json()["reason"]]
            else:
                assert (answer.status_code, kind_of(answer), stored + refused) == (503, "source-unavailable", []), kind
                assert int(answer.headers["retry-after"]) >= 1
        for path in ("/healthz", "/readyz", "/metrics"):
            state = client.get(path)
            assert state.status_code == 200 and heard(path, state.text) == []
    output = capfd.readouterr()
    assert [place for words in (caplog.text, output.out, output.err) for place in heard("log", words)] == []


def empty(database: Database) -> None:
    """Forget prices, refusals, and the cool-down that a fault has caused."""
    with database.writing() as connection:
        for table in (tables.raw_prices, tables.rejected_prices, request_budgets):
            connection.execute(delete(table))


@pytest.mark.parametrize(("status", "code", "seconds"), [
    (401, 10002, 60), (403, None, 60), (403, 1020, 3600), (404, None, 60), (408, None, 60), (429, None, 60),
    (429, 1015, 3600), (500, None, 60),
])
def test_every_error_status_of_coingecko_is_unavailable_with_a_time_to_retry(
    api: Api, simulator: Simulator, status: int, code: int | None, seconds: int
) -> None:
    simulator.add_fault(Fault(kind="status", status=status, code=code, times=None))
    answer = api(**WITH_KEY).post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (503, "source-unavailable") and heard("", answer.text) == []
    assert ("COINGECKO_API_KEY" in answer.text) == (status == 401)
    assert int(answer.headers["retry-after"]) == seconds


@pytest.mark.parametrize(("asked", "seconds", "sent"), [(40, 40, 1), ("0.2", 1, 4), (10**9, 3600, 1)])
def test_coingeckos_retry_after_is_passed_on(
    api: Api, simulator: Simulator, asked: Any, seconds: int, sent: int
) -> None:
    """And waited for here only if that takes some seconds at most."""
    simulator.add_fault(Fault(kind="status", status=503, retry_after=asked, times=None))
    answer = api(**WITH_KEY).post("/collect-once/BTC")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(seconds))
    assert len(simulator.requests) == sent


def test_a_spent_budget_is_reported_and_not_waited_for(api: Api, simulator: Simulator) -> None:
    """A cool-down, a used-up minute, and a used-up month."""
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40))
    assert kind_of(api(**WITH_KEY).post("/collect-once/BTC")) == "source-unavailable"
    assert_exhausted(api(**WITH_KEY), 30, 40)
    minute = api(coingecko_requests_per_minute=1)
    assert minute.post("/collect-once/BTC").status_code == 200
    assert_exhausted(minute, 50, 61)
    month = api(**WITH_KEY | {"coingecko_api_key": "CG-another"}, coingecko_monthly_credits=1)
    assert month.post("/collect-once/BTC").status_code == 200
    left = (start_of_day(next_month(utc_now().date().replace(day=1))) - utc_now()) // timedelta(seconds=1)
    assert_exhausted(month, left - 60, left + 60)
    assert len(simulator.requests) == 3


def assert_exhausted(client: TestClient, least: int, most: int) -> None:
    answer = client.post("/collect-once/ETH")
    assert (answer.status_code, kind_of(answer)) == (503, "budget-exhausted")
    assert least <= int(answer.headers["retry-after"]) <= most


@pytest.mark.parametrize(("spoil", "sent"), [
    ("DROP TABLE raw_prices", 1), ("DROP TABLE request_budgets", 0), ("DROP TABLE request_ledger", 0),
    ("UPDATE market_pipeline_version SET version_num = '0001'", 0),
])
@both_databases
def test_a_database_that_fails_is_not_described(
    database: Database, client: TestClient, simulator: Simulator, caplog: pytest.LogCaptureFixture,
    spoil: str, sent: int,
) -> None:
    """And nothing is requested whose answer cannot be stored."""
    with database.writing() as connection:
        connection.execute(text(spoil))
    answer = client.post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (500, "database-error")
    words = answer.text.lower()
    assert not any(word in words for word in ("select", "insert", "table", "sqlite", "postgres", "prices.db"))
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    assert len(simulator.requests) <= sent


@both_databases
def test_twenty_at_once_obey_the_budget_and_each_gets_an_answer(
    database: Database, service_of: Callable[..., Service], simulator: Simulator
) -> None:
    limit = 5
    with served(create_app(service_of(coingecko_requests_per_minute=limit))) as address, ThreadPoolExecutor(20) as pool:
        urls = [f"{address}/collect-once/{SYMBOLS[number % 5]}" for number in range(20)]
        answers = list(pool.map(lambda url: requests.post(url, timeout=60), urls))
    late = [answer for answer in answers if answer.status_code != 200]
    assert (len(answers) - len(late), len(simulator.requests)) == (limit, limit)
    assert {(answer.status_code, answer.json()["type"].rpartition(":")[2]) for answer in late} == {
        (503, "budget-exhausted"),
    }
    assert all(1 <= int(answer.headers["retry-after"]) <= 62 for answer in late)
