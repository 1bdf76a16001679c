"""/healthz and /readyz: a dead scheduler, a quiet market and a new installation look different."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import dagster as dg
import pytest
import requests
from dagster._utils.error import SerializableErrorInfo as ErrorInfo  # type: ignore[attr-defined]  # no public type
from sqlalchemy import text
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import iso, utc_now
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.api.serving import SYMBOLS, asking, both_databases, kind_of, served
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.dagster_records import beat, ended

MINUTE = timedelta(minutes=1)
FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


def store(database: Database, age: timedelta, symbols: tuple[str, ...] = SYMBOLS) -> str:
    """Store newest quotes of this age; gives their time."""
    at = utc_now() - age
    rows = [Quote(symbol, database.coin_id(symbol), at, 1.5, Source.LIVE, at) for symbol in symbols]
    upsert(database, raw_prices, columns_of(raw_prices, rows))
    return iso(at)


def ready(client: TestClient) -> tuple[dict[str, Any], dict[str, str]]:
    """The document, and the sentences of its conditions by kind."""
    answer = client.get("/readyz")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["status"] == "ready") == (not document["conditions"])
    return document, {condition["kind"]: condition["detail"] for condition in document["conditions"]}


def refuse_bitcoin(client: TestClient, simulator: Simulator) -> None:
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    assert client.post("/collect-once/BTC").status_code == 422


def test_the_process_answers(client: TestClient) -> None:
    answer = client.get("/healthz")
    assert (answer.status_code, answer.json()) == (200, {"status": "alive"})
    assert answer.headers["cache-control"] == "no-store"


@both_databases
def test_a_new_installation_becomes_ready_with_daemons_and_prices(
    database: Database, instance: dg.DagsterInstance, client: TestClient
) -> None:
    """A quote of the future, which another writer has stored, is no price yet."""
    store(database, -90 * MINUTE)
    document, kinds = ready(client)
    assert set(kinds) == {"no-prices-yet", "never-scheduled"} and document["scheduler_alive"] is False
    assert document["symbols"][0] == {
        "symbol": "BTC", "newest": None, "age_seconds": None, "fresh": False, "scored": None,
        "scored_age_seconds": None, "scores_fresh": True,
    }
    assert document["jobs"][0] == {
        "job": "tick", "last_success": None, "last_success_age_seconds": None, "last_failure": None,
    }
    assert document["daemons"][0]["heartbeat_age_seconds"] is None
    beat(instance, MINUTE)
    assert set(ready(client)[1]) == {"no-prices-yet"}
    at = store(database, MINUTE)
    document, kinds = ready(client)
    assert (document["status"], kinds, document["scheduler_alive"]) == ("ready", {}, True)
    assert [symbol["symbol"] for symbol in document["symbols"]] == list(SYMBOLS)
    assert {symbol["newest"] for symbol in document["symbols"]} == {at}
    assert all(symbol["fresh"] and 59 <= symbol["age_seconds"] < 120 for symbol in document["symbols"])
    ages = {daemon["daemon"]: daemon["heartbeat_age_seconds"] for daemon in document["daemons"]}
    assert 59 <= ages["SCHEDULER"] < 120 and all(daemon["alive"] for daemon in document["daemons"])


def test_silent_daemons_and_their_errors_are_reported(
    database: Database, instance: dg.DagsterInstance, client: TestClient
) -> None:
    """At once, not only when prices are stale; and nothing is said of the market then."""
    for age, fresh in ((40 * MINUTE, False), (MINUTE, True)):
        store(database, age)
        beat(instance, 4 * MINUTE)
        document, kinds = ready(client)
        assert set(kinds) == {"scheduler-dead"} and "4 min ago" in kinds["scheduler-dead"]
        assert document["scheduler_alive"] is False
        assert {symbol["fresh"] for symbol in document["symbols"]} == {fresh}
    beat(instance, 10 * MINUTE)
    document, kinds = ready(client)
    assert set(kinds) == {"scheduler-dead"}, "with it every daemon of its process"
    assert not any(daemon["alive"] for daemon in document["daemons"])
    record_scored(database, dict.fromkeys(SYMBOLS, utc_now() - MINUTE))
    beat(instance, MINUTE, ErrorInfo("ValueError: secret words\n", [], "ValueError"))
    document, kinds = ready(client)
    assert set(kinds) == {"daemon-errors"} and "secret words" not in str(document)
    assert document["scheduler_alive"] is True


def test_a_quiet_market_is_one_that_was_asked(
    database: Database, instance: dg.DagsterInstance, client: TestClient, simulator: Simulator
) -> None:
    """By a run or by collecting here; otherwise nothing is collected, whatever the reason."""
    store(database, 40 * MINUTE)
    beat(instance, MINUTE)
    assert set(ready(client)[1]) == {"not-collected"}
    for symbol in SYMBOLS:
        event = dg.AssetMaterialization("raw_prices", partition=f"{utc_now().date()}|{symbol}")
        instance.report_runless_asset_event(event)
    document, kinds = ready(client)
    assert set(kinds) == {"quiet-market"} and "40 min old" in kinds["quiet-market"]
    assert document["scheduler_alive"] is True and document["symbols"][0]["fresh"] is False


def test_a_quiet_market_is_seen_by_collecting_here(
    database: Database, instance: dg.DagsterInstance, client: TestClient, simulator: Simulator
) -> None:
    store(database, MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=1_800))
    assert client.post("/collect-once/BTC").status_code == 200
    _, kinds = ready(client)
    assert set(kinds) == {"quiet-market"} and "30 min old" in kinds["quiet-market"]


def test_before_the_first_tick_nothing_is_wrong_yet(
    database: Database, instance: dg.DagsterInstance, service_of: Callable[..., Service]
) -> None:
    """Whatever an earlier start has left: a tick that was cut off, prices of yesterday."""
    store(database, timedelta(days=2))
    beat(instance, MINUTE)
    ended(instance, FAILURE)
    for up, expected in ((timedelta(), "starting"), (3 * MINUTE, "tick-failed")):
        service = service_of(up=up, collect_cron="* * * * *")
        with asking(create_app(service)) as client:
            _, kinds = ready(client)
        assert set(kinds) == {expected}
        first = (service.started + MINUTE).strftime("%H:%M UTC")
        assert expected != "starting" or first in kinds["starting"]


def test_ticks_that_fail_are_reported_until_one_succeeds(
    database: Database, instance: dg.DagsterInstance, client: TestClient, simulator: Simulator
) -> None:
    """Also where the source had been refused before it went away, and before the first price."""
    beat(instance, MINUTE)
    ended(instance, FAILURE)
    assert set(ready(client)[1]) == {"tick-failed"}
    store(database, 40 * MINUTE, SYMBOLS[1:])
    refuse_bitcoin(client, simulator)
    _, kinds = ready(client)
    assert set(kinds) == {"tick-failed"} and "BTC, ETH, SOL, ADA, DOT is 40 min old" in kinds["tick-failed"]
    ended(instance, FAILURE, "score_days")
    ended(instance, SUCCESS)
    assert set(ready(client)[1]) == {"job-failed", "prices-refused"}


def test_refused_prices_are_reported(
    database: Database, instance: dg.DagsterInstance, client: TestClient, simulator: Simulator
) -> None:
    store(database, MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    refuse_bitcoin(client, simulator)
    assert set(ready(client)[1]) == {"prices-refused"}


def test_without_dagsters_storage_the_rest_is_reported(
    database: Database, dagster_home: Any, client: TestClient
) -> None:
    store(database, 40 * MINUTE)
    (dagster_home / "history" / "runs.db").write_bytes(b"no database at all " * 100)
    document, kinds = ready(client)
    assert set(kinds) == {"dagster-unreadable", "stale-prices"}
    assert (document["scheduler_alive"], document["daemons"]) == (None, None) and "runs.db" not in str(document)
    metrics = client.get("/metrics").text
    assert "market_pipeline_dagster_readable 0.0" in metrics and "market_pipeline_recent_quotes" in metrics
    assert "daemon_heartbeat_age_seconds" not in metrics


def test_waiting_for_dagster_delays_no_reader(
    dagster_home: Any, service_of: Callable[..., Service], block_dagster: Callable[[threading.Event], None]
) -> None:
    """More of them than there are threads that read."""
    released = threading.Event()
    block_dagster(released)
    with served(create_app(service_of()), starts=True) as address:
        paths = ["/readyz", "/metrics"] * 10
        waiting = [threading.Thread(target=requests.get, args=(address + path,)) for path in paths]
        for thread in waiting:
            thread.start()
        try:
            assert requests.get(f"{address}/prices/BTC", timeout=20).status_code == 200
            assert any(thread.is_alive() for thread in waiting)
        finally:
            released.set()
        wait_for(lambda: not any(thread.is_alive() for thread in waiting), 60, "the end of the requests")


@pytest.mark.parametrize(("spoil", "remedy"), [
    ("UPDATE market_pipeline_version SET version_num = '0001'", "market-pipeline migrate"),
    ("UPDATE market_pipeline_version SET version_num = '9999'", "update market_pipeline"),
    ("DROP TABLE market_pipeline_version", "market-pipeline migrate"),
    ("DROP TABLE raw_prices", "DATABASE_URL"),
])
def test_a_database_that_is_not_ready_is_503_with_what_to_do(
    client: TestClient, database: Database, spoil: str, remedy: str
) -> None:
    with database.writing() as connection:
        connection.execute(text(spoil))
    answer = client.get("/readyz")
    assert (answer.status_code, kind_of(answer)) == (503, "not-ready")
    assert remedy in answer.json()["detail"] and "0001" not in answer.text and "raw_prices" not in answer.text
    assert client.get("/healthz").status_code == 200


@pytest.mark.parametrize("url", ["sqlite:////nowhere/at/all.db", "postgresql+psycopg2://me:pw@127.0.0.1:9/x"])
def test_a_database_that_cannot_be_reached_is_not_described(api: Callable[..., TestClient], url: str) -> None:
    client = api(url=url)
    answer, metrics, collected = client.get("/readyz"), client.get("/metrics"), client.post("/collect-once/BTC")
    assert (answer.status_code, kind_of(answer)) == (503, "not-ready") and "DATABASE_URL" in answer.json()["detail"]
    for failed in (metrics, collected):
        assert (failed.status_code, kind_of(failed)) == (500, "database-error")
    words = answer.text + metrics.text + collected.text
    assert not any(word in words for word in ("nowhere", "127.0.0.1:9", "pw@"))
