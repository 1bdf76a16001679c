"""Collecting by HTTP while CoinGecko, the budget or the database fail: the answer says so, and nothing else."""

import json
import logging
import threading
from datetime import timedelta
from functools import partial

import pytest
import requests
from sqlalchemy import make_url, select, text
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.coingecko.retries import RetryPolicy
from market_pipeline.core.clock import iso, next_month, start_of_day, utc_now
from market_pipeline.simulator.faults import KINDS, LISTING_ONLY, POINTS_ONLY, VALUES, Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.canaries import KEY, heard

NEED_A_COIN = {"wrong_id", *LISTING_ONLY}
REFUSED = VALUES | {"missing_coin", "missing_price", "wrong_id", "empty_object"}
UNHARMED = POINTS_ONLY | LISTING_ONLY | {"stale_timestamp"}
WITH_KEY = {"coingecko_plan": "demo", "coingecko_api_key": KEY}
STATUSES = [(401, 10002), (403, None), (403, 1020), (404, None), (408, None), (429, None), (429, 1015), (500, None)]


@pytest.fixture(autouse=True)
def without_waits(monkeypatch):
    """So that a test need not sit through the waits of the retries."""
    monkeypatch.setattr("market_pipeline.coingecko.retries._backoff", lambda number: 0.0)


@pytest.fixture
def simulator():
    """One that wants a key."""
    with Simulator(MarketModel(), plan="demo") as running:
        yield running


def rows(database, table):
    with database.reading() as connection:
        return [dict(row._mapping) for row in connection.execute(select(table))]


def kind_of(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["trace_id"] == answer.headers["x-request-id"]
    return answer.json()["type"].rpartition(":")[2]


def fault_of(kind):
    seconds = 0.5 if kind == "hang" else None
    return Fault(kind=kind, times=None, seconds=seconds, coin="bitcoin" if kind in NEED_A_COIN else None)


@pytest.mark.parametrize(("database", "kind"), [
    *(("sqlite", kind) for kind in sorted(KINDS)),
    *(("postgresql", kind) for kind in ("status", "cut_middle", "nan_price", "wrong_id", "stale_timestamp")),
], indirect=["database"])
def test_whatever_coingecko_does_the_answer_is_true_and_documented(
    api, simulator, database, caplog, capfd, monkeypatch, kind
):
    caplog.set_level(logging.DEBUG)
    if kind == "hang":
        monkeypatch.setattr("market_pipeline.pipeline.client_factory.RetryPolicy", partial(RetryPolicy, idle=0.2))
    simulator.add_fault(fault_of(kind))
    asking = api(**WITH_KEY)
    document = asking.get("/openapi.json").json()["paths"]
    answer = asking.post("/collect-once/BTC")
    stored, refused = rows(database, tables.raw_prices), rows(database, tables.rejected_prices)
    assert str(answer.status_code) in document["/collect-once/{symbol}"]["post"]["responses"]
    if kind in UNHARMED:
        assert answer.status_code == 200 and refused == []
        assert [(row["price"], iso(row["timestamp"])) for row in stored] == [
            (answer.json()["price"], answer.json()["timestamp"])
        ]
    elif kind in REFUSED:
        assert (answer.status_code, kind_of(answer), stored) == (422, "quote-refused", [])
        assert [row["reason"] for row in refused] == [answer.json()["reason"]]
    else:
        assert (answer.status_code, kind_of(answer), stored + refused) == (503, "source-unavailable", [])
        assert int(answer.headers["retry-after"]) >= 1
    for path in ("/healthz", "/readyz", "/metrics"):
        state = asking.get(path)
        assert state.status_code == 200 and heard(path, state.text) == []
    output = capfd.readouterr()
    told = [answer.text, json.dumps(dict(answer.headers)), caplog.text, output.out, output.err]
    assert [place for text_ in told for place in heard("told", text_)] == []


@pytest.mark.parametrize(("status", "code"), STATUSES)
@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_whatever_status_coingecko_answers_it_is_unavailable_with_the_verdict(
    api, simulator, database, status, code
):
    simulator.add_fault(Fault(kind="status", status=status, code=code, times=None))
    answer = api(**WITH_KEY).post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (503, "source-unavailable")
    assert answer.json()["detail"].startswith("No price of BTC: ") and heard("body", answer.text) == []
    assert ("COINGECKO_API_KEY" in answer.text) == (status == 401)
    assert int(answer.headers["retry-after"]) == (3600 if code in (1015, 1020) else 60)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize(("asked", "told"), [(40, 40), ("0.2", 1), (10**9, 3600)])
def test_what_coingecko_asks_to_wait_is_handed_on(api, simulator, database, asked, told):
    """And waited for here only if that takes some seconds at most."""
    simulator.add_fault(Fault(kind="status", status=503, retry_after=asked, times=None))
    answer = api(**WITH_KEY).post("/collect-once/BTC")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(told))
    assert len(simulator.requests) == (4 if asked == "0.2" else 1)


def test_a_cool_down_is_kept_and_told(api, simulator):
    simulator.add_fault(Fault(kind="status", status=429, retry_after=40))
    asking = api(**WITH_KEY)
    assert kind_of(asking.post("/collect-once/BTC")) == "source-unavailable"
    answer = asking.post("/collect-once/ETH")
    assert (answer.status_code, kind_of(answer)) == (503, "budget-exhausted")
    assert 30 <= int(answer.headers["retry-after"]) <= 40 and "no requests before" in answer.json()["detail"]
    assert len(simulator.requests) == 1


def test_a_minute_that_is_used_up_is_told_and_not_waited_for(api, simulator):
    asking = api(**WITH_KEY, coingecko_requests_per_minute=1)
    assert asking.post("/collect-once/BTC").status_code == 200
    answer = asking.post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (503, "budget-exhausted")
    assert 50 <= int(answer.headers["retry-after"]) <= 61
    assert len(simulator.requests) == 1


def test_a_month_whose_credits_are_used_up_is_told_until_it_ends(api, simulator):
    asking = api(**WITH_KEY, coingecko_monthly_credits=1)
    assert asking.post("/collect-once/BTC").status_code == 200
    answer = asking.post("/collect-once/BTC")
    renews = start_of_day(next_month(utc_now().date().replace(day=1)))
    assert (answer.status_code, kind_of(answer)) == (503, "budget-exhausted")
    assert abs(timedelta(seconds=int(answer.headers["retry-after"])) - (renews - utc_now())) < timedelta(minutes=1)


@pytest.mark.parametrize("spoil", [
    "DROP TABLE raw_prices", "DROP TABLE request_budgets", "DROP TABLE request_ledger",
    "UPDATE market_pipeline_version SET version_num = '0001'", "DROP TABLE market_pipeline_version",
])
def test_a_database_that_fails_is_told_without_a_word_about_it(api, database, simulator, caplog, spoil):
    asking = api(**WITH_KEY)
    with database.writing() as connection:
        connection.execute(text(spoil))
    answer = asking.post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (500, "database-error")
    said = answer.text.lower()
    assert not any(word in said for word in ("select", "insert", "table", "sqlite", "postgres", "prices.db"))
    assert any(record.levelno == logging.ERROR for record in caplog.records)
    if "version" in spoil or "budgets" in spoil:
        assert simulator.requests == [], "nothing is asked whose answer cannot be stored"


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql+psycopg2://me:pw@127.0.0.1:9/x"])
def test_a_database_that_is_gone_is_told_without_a_word_about_it(service_of, database, url):
    service = service_of(**WITH_KEY)
    app = create_app(Service(service.settings, Database(make_url(url)), service.dagster))
    with TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False) as asking:
        answer = asking.post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (500, "database-error")
    assert not any(word in answer.text for word in ("nowhere", "127.0.0.1:9", "pw@"))


def test_twenty_at_once_keep_to_the_budget_and_nobody_is_left_without_an_answer(
    service_of, simulator
):
    told, limit = [], 5
    with served(create_app(service_of(**WITH_KEY, coingecko_requests_per_minute=limit))) as address:

        def ask(number):
            symbol = ("BTC", "ETH", "SOL", "ADA", "DOT")[number % 5]
            told.append(requests.post(f"{address}/collect-once/{symbol}", timeout=60))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    collected = [answer for answer in told if answer.status_code == 200]
    late = [answer for answer in told if answer.status_code != 200]
    assert (len(told), len(collected), len(simulator.requests)) == (20, limit, limit)
    assert {(answer.status_code, kind_of(answer)) for answer in late} == {(503, "budget-exhausted")}
    assert all(1 <= int(answer.headers["retry-after"]) <= 62 for answer in late)
