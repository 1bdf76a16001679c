"""What /healthz and /readyz say: a dead scheduler, a quiet market and a new installation look different."""

import threading
import time
from datetime import timedelta

import dagster as dg
import pytest
import requests
from dagster._utils.error import SerializableErrorInfo
from sqlalchemy import make_url, text
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.api.conftest import served
from market_pipeline_tests.api.history import block_opening
from market_pipeline_tests.dagster_records import beat, ended

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
MINUTE = timedelta(minutes=1)


@pytest.fixture
def instance(dagster_home):
    with dg.DagsterInstance.from_config(str(dagster_home)) as opened:
        yield opened


def store(database, age, symbols=SYMBOLS):
    """Newest quotes that were true so long ago."""
    at = utc_now() - age
    rows = [
        Quote(symbol, database.coin_id(symbol), at, 1.5, Source.LIVE, at)
        for symbol in symbols
    ]
    upsert(database, raw_prices, columns_of(raw_prices, rows))
    return at


def collected(instance, symbols=SYMBOLS):
    """Let a run have collected today's partitions just now."""
    for symbol in symbols:
        event = dg.AssetMaterialization("raw_prices", partition=f"{utc_now().date()}|{symbol}")
        instance.report_runless_asset_event(event)


def ready(client):
    """The document and the kinds of its conditions."""
    answer = client.get("/readyz")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["status"] == "ready") == (not document["conditions"])
    return document, {condition["kind"]: condition["detail"] for condition in document["conditions"]}


def test_the_process_answers(client):
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"


def test_fresh_prices_and_daemons_that_report_are_ready(client, database, instance):
    at = store(database, MINUTE)
    beat(instance, MINUTE)
    document, kinds = ready(client)
    assert (document["status"], kinds, document["scheduler_alive"]) == ("ready", {}, True)
    assert [symbol["symbol"] for symbol in document["symbols"]] == list(SYMBOLS)
    assert {symbol["newest"] for symbol in document["symbols"]} == {iso(at)}
    assert all(symbol["fresh"] and 59 <= symbol["age_seconds"] < 120 for symbol in document["symbols"])
    ages = {daemon["daemon"]: daemon["heartbeat_age_seconds"] for daemon in document["daemons"]}
    assert 59 <= ages["SCHEDULER"] < 120 and all(daemon["alive"] for daemon in document["daemons"])


def test_a_new_installation_says_that_nothing_was_started_and_nothing_collected(client, database):
    """A quote of the future, which another writer has stored, is no price yet."""
    store(database, -90 * MINUTE)
    document, kinds = ready(client)
    assert set(kinds) == {"no-prices-yet", "never-scheduled"} and "market-pipeline run" in kinds["never-scheduled"]
    assert document["scheduler_alive"] is False
    assert document["symbols"][0] == {
        "symbol": "BTC", "newest": None, "age_seconds": None, "fresh": False, "scored": None,
        "scored_age_seconds": None, "scores_fresh": True,
    }
    assert document["jobs"][0] == {
        "job": "tick", "last_success": None, "last_success_age_seconds": None, "last_failure": None,
    }
    assert document["daemons"][0]["heartbeat_age_seconds"] is None


def test_an_installation_that_was_just_started_waits_for_its_first_prices(client, instance):
    beat(instance, MINUTE)
    assert set(ready(client)[1]) == {"no-prices-yet"}


@pytest.mark.parametrize("price_age", [MINUTE, 40 * MINUTE])
def test_a_dead_scheduler_is_told_from_its_heartbeat(client, database, instance, price_age):
    """At once, not only when prices are stale; and nothing is said of the market then."""
    store(database, price_age)
    beat(instance, 4 * MINUTE)
    document, kinds = ready(client)
    assert set(kinds) == {"scheduler-dead"} and "4 min ago" in kinds["scheduler-dead"]
    assert document["scheduler_alive"] is False
    assert {symbol["fresh"] for symbol in document["symbols"]} == {price_age == MINUTE}


def test_with_the_scheduler_every_daemon_of_its_process_is_dead(client, database, instance):
    store(database, MINUTE)
    beat(instance, 10 * MINUTE)
    document, kinds = ready(client)
    assert set(kinds) == {"scheduler-dead"}
    assert {daemon["alive"] for daemon in document["daemons"]} == {False}
    assert not any(daemon["alive"] for daemon in document["daemons"])


def test_daemons_that_report_errors_are_told_without_their_words(client, database, instance):
    store(database, MINUTE)
    beat(instance, MINUTE, SerializableErrorInfo("ValueError: secret words\n", [], "ValueError"))
    document, kinds = ready(client)
    assert set(kinds) == {"daemon-errors"} and "secret words" not in str(document)
    assert document["scheduler_alive"] is True


def test_a_quiet_market_is_one_that_was_asked(client, database, instance):
    store(database, 40 * MINUTE)
    beat(instance, MINUTE)
    collected(instance)
    document, kinds = ready(client)
    assert set(kinds) == {"quiet-market"} and "40 min old, although CoinGecko was asked" in kinds["quiet-market"]
    assert document["scheduler_alive"] is True and document["symbols"][0]["fresh"] is False


def test_a_quiet_market_seen_by_collecting_here(client, simulator, database, instance):
    store(database, MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=1_800))
    assert client.post("/collect-once/BTC").status_code == 200
    _, kinds = ready(client)
    assert set(kinds) == {"quiet-market"} and "price of BTC is 30 min old" in kinds["quiet-market"]


def test_a_scheduler_whose_runs_bring_nothing_is_neither(client, database, instance):
    """CoinGecko cannot be reached, the schedule was stopped, the runs wait."""
    store(database, 40 * MINUTE)
    beat(instance, MINUTE)
    _, kinds = ready(client)
    assert set(kinds) == {"not-collected"} and "the last collection was not today" in kinds["not-collected"]


def test_before_the_first_tick_nothing_is_wrong_yet(service_of, database, instance):
    """Whatever an earlier start has left: a tick that was cut off, prices of yesterday."""
    store(database, timedelta(days=2))
    beat(instance, MINUTE)
    ended(instance, dg.DagsterRunStatus.FAILURE)
    for up, expected in ((timedelta(), "starting"), (3 * MINUTE, "tick-failed")):
        service = service_of(up=up, collect_cron="* * * * *")
        with TestClient(create_app(service), "http://127.0.0.1:8000") as client:
            _, kinds = ready(client)
            assert set(kinds) == {expected}
        first = (service.started + MINUTE).strftime("%H:%M UTC")
        assert expected != "starting" or f"the first tick after that is at {first}." in kinds["starting"]


def test_ticks_that_fail_are_told_until_one_succeeds(client, simulator, database, instance):
    """Also where the source had been refused before it went away."""
    store(database, 40 * MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    assert client.post("/collect-once/BTC").status_code == 422
    ended(instance, dg.DagsterRunStatus.FAILURE)
    _, kinds = ready(client)
    assert set(kinds) == {"tick-failed"} and "The last tick failed" in kinds["tick-failed"]
    assert "The newest price of BTC, ETH, SOL, ADA, DOT is 40 min old." in kinds["tick-failed"]
    ended(instance, dg.DagsterRunStatus.FAILURE, "score_days")
    ended(instance, dg.DagsterRunStatus.SUCCESS)
    assert set(ready(client)[1]) == {"job-failed", "prices-refused"}


def test_a_first_tick_that_failed_is_no_quiet_beginning(client, instance):
    beat(instance, MINUTE)
    assert set(ready(client)[1]) == {"no-prices-yet"}
    ended(instance, dg.DagsterRunStatus.FAILURE)
    _, kinds = ready(client)
    assert set(kinds) == {"tick-failed"} and "There is no price of BTC, ETH, SOL" in kinds["tick-failed"]


def test_prices_that_are_refused_are_told(client, simulator, database, instance):
    store(database, MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    assert client.post("/collect-once/BTC").status_code == 422
    _, kinds = ready(client)
    assert set(kinds) == {"prices-refused"} and "There is no price of BTC yet" in kinds["prices-refused"]


def test_a_dagster_that_cannot_be_read_is_said_and_the_rest_told(client, database, dagster_home):
    store(database, 40 * MINUTE)
    (dagster_home / "history" / "runs.db").write_bytes(b"no database at all " * 100)
    document, kinds = ready(client)
    assert set(kinds) == {"dagster-unreadable", "stale-prices"}
    assert (document["scheduler_alive"], document["daemons"]) == (None, None)
    assert "runs.db" not in str(document)


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
def test_those_who_wait_for_dagster_keep_no_reader_waiting(service_of, monkeypatch):
    """Forty of them held every thread that reads."""
    service = service_of()
    released = threading.Event()
    block_opening(monkeypatch, released)
    with served(create_app(service)) as address:
        paths = ["/readyz", "/metrics"] * 25
        asking = [threading.Thread(target=requests.get, args=(address + path,)) for path in paths]
        for thread in asking:
            thread.start()
        time.sleep(0.5)
        try:
            assert requests.get(f"{address}/prices/BTC", timeout=20).status_code == 200
        finally:
            released.set()
        for thread in asking:
            thread.join()


@pytest.mark.parametrize(("spoil", "said"), [
    ("UPDATE market_pipeline_version SET version_num = '0001'", "market-pipeline migrate"),
    ("UPDATE market_pipeline_version SET version_num = '9999'", "update market_pipeline"),
    ("DROP TABLE market_pipeline_version", "market-pipeline migrate"),
    ("DROP TABLE raw_prices", "cannot be read"),
])
def test_a_database_that_is_not_ready_is_503_with_what_to_do(client, database, spoil, said):
    with database.writing() as connection:
        connection.execute(text(spoil))
    answer = client.get("/readyz")
    assert answer.status_code == 503 and answer.json()["type"].endswith(":not-ready")
    assert said in answer.json()["detail"] and "0001" not in answer.json()["detail"] and "raw_prices" not in answer.text
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql+psycopg2://me:pw@127.0.0.1:9/x"])
def test_a_database_that_cannot_be_reached_is_503_without_a_word_about_it(service_of, sqlite_database, url):
    service = service_of()
    app = create_app(Service(service.settings, Database(make_url(url)), service.dagster))
    with TestClient(app, "http://127.0.0.1:8000", raise_server_exceptions=False) as asking:
        answer = asking.get("/readyz")
        metrics = asking.get("/metrics")
    assert answer.status_code == 503 and "DATABASE_URL" in answer.json()["detail"]
    assert metrics.status_code == 500 and metrics.json()["type"].endswith(":database-error")
    assert not any(word in answer.text + metrics.text for word in ("nowhere", "127.0.0.1:9", "pw@"))
