"""/healthz and /readyz; and /readyz, /metrics and the doctor agree on which link of the chain is broken.

Each kind of condition and its sentences are tested in `pipeline/test_conditions.py`.
"""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from itertools import repeat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import text
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import DAY, iso, start_of_day, utc_now
from market_pipeline.dagster_instance.reports import materialization
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.dagster import examine_automation, examine_daemons, examine_runs
from market_pipeline.doctor.stored_prices import examine_freshness, examine_scores
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline_tests.api.serving import SYMBOLS, asking, both_databases, kind_of, served, store_quotes
from market_pipeline_tests.builders import wait_for
from market_pipeline_tests.dagster_records import beat, ended, evaluated, state_of, stopped_by_check

MINUTE = timedelta(minutes=1)


def store(database: Database, age: timedelta, symbols: tuple[str, ...] = SYMBOLS) -> str:
    """Store newest quotes of this age; gives their time."""
    at = utc_now() - age
    for symbol in symbols:
        store_quotes(database, symbol, [at], 1.5, scored=False)
    return iso(at)


def ready(client: TestClient) -> tuple[dict[str, Any], dict[str, str]]:
    """The document, and the sentences of its conditions by kind."""
    answer = client.get("/readyz")
    assert answer.status_code == 200 and answer.headers["cache-control"] == "no-store"
    document = answer.json()
    assert (document["status"] == "ready") == (not document["conditions"])
    return document, {condition["kind"]: condition["detail"] for condition in document["conditions"]}


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


def test_collecting_here_counts_as_a_collection(
    database: Database, instance: dg.DagsterInstance, client: TestClient, simulator: Simulator
) -> None:
    """A quiet market is one that was asked, by a run or by the API; a refusal is one as well."""
    store(database, MINUTE, SYMBOLS[1:])
    beat(instance, MINUTE)
    simulator.add_fault(Fault(kind="stale_timestamp", coin="bitcoin", seconds=1_800))
    assert client.post("/collect-once/BTC").status_code == 200
    _, kinds = ready(client)
    assert set(kinds) == {"quiet-market"} and "30 min old" in kinds["quiet-market"]
    simulator.add_fault(Fault(kind="negative_price", coin="bitcoin"))
    assert client.post("/collect-once/BTC").status_code == 422
    assert set(ready(client)[1]) == {"prices-refused"}


def test_before_the_first_tick_nothing_is_wrong_yet(
    database: Database, instance: dg.DagsterInstance, service_of: Callable[..., Service]
) -> None:
    """Whatever an earlier start has left: a tick that was cut off, prices of yesterday."""
    store(database, timedelta(days=2))
    beat(instance, MINUTE)
    ended(instance, dg.DagsterRunStatus.FAILURE)
    for up, expected in ((timedelta(), "starting"), (3 * MINUTE, "tick-failed")):
        service = service_of(up=up, collect_cron="* * * * *")
        with asking(create_app(service)) as client:
            _, kinds = ready(client)
        assert set(kinds) == {expected}
        first = (service.started + MINUTE).strftime("%H:%M UTC")
        assert expected != "starting" or first in kinds["starting"]


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


class Chain:
    """An installation in which everything is well, until a test breaks a link."""

    def __init__(self, database: Database, instance: dg.DagsterInstance) -> None:
        self.database, self.instance = database, instance
        self.store(30 * MINUTE, MINUTE)
        beat(instance, MINUTE)
        evaluated(instance, state_of(instance, "tick_schedule"), MINUTE)
        ended(instance, dg.DagsterRunStatus.SUCCESS)

    def store(self, *ages: timedelta) -> None:
        """Store quotes of these ages, the newest of them scored."""
        now = utc_now()
        store_quotes(self.database, "BTC", [now - age for age in ages], 1.5)

    def empty(self, table: str) -> None:
        with self.database.writing() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")

    def silence_source(self) -> None:
        """Requested a moment ago, without a newer price."""
        self.empty("raw_prices")
        self.empty("scored_through")
        self.store(40 * MINUTE)
        event = dg.AssetMaterialization("raw_prices", partition=f"{utc_now().date()}|BTC")
        self.instance.report_runless_asset_event(event)

    def lose_scores(self) -> None:
        self.store(25 * MINUTE)
        self.empty("scored_through")
        record_scored(self.database, {"BTC": utc_now() - 30 * MINUTE})


Break = Callable[[Chain], Any]
LINKS: dict[str, tuple[Break, list[str], list[str]]] = {
    "none": (lambda chain: None, [], []),
    "a dead scheduler": (lambda chain: beat(chain.instance, 4 * MINUTE), ["scheduler-dead"], ["daemons"]),
    "a blocking check that fails": (lambda chain: stopped_by_check(chain.instance), ["check-failed"], ["job tick"]),
    "a silent source": (Chain.silence_source, ["quiet-market"], ["newest BTC"]),
    "missing scores": (Chain.lose_scores, ["scores-behind"], ["scores"]),
}


def metrics_of(client: TestClient) -> dict[str, dict[tuple[str, ...], float]]:
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(client.get("/metrics").text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return found


@pytest.mark.parametrize(("break_link", "kinds", "names"), LINKS.values(), ids=LINKS)
def test_each_broken_link_alone_is_reported_by_all(
    break_link: Break, kinds: list[str], names: list[str], service_of: Callable[..., Service],
    instance: dg.DagsterInstance, tmp_path: Path,
) -> None:
    service = service_of(market_symbols="BTC")
    chain = Chain(service.database, instance)
    break_link(chain)
    context = DoctorContext(tmp_path, {})
    context.settings, context.database, context.instance = service.settings, service.database, instance
    examined = (examine_daemons, examine_automation, examine_runs, examine_freshness, examine_scores)
    found = [each for examine in examined for each in examine(context) if each.status != "ok"]
    with asking(create_app(service)) as client:
        answer, metrics = client.get("/readyz"), metrics_of(client)
        own = client.get("/symbols/BTC/conditions.json")
    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "degraded" if kinds else "ready")
    assert [condition["kind"] for condition in own.json()["conditions"]] == kinds
    assert [condition["kind"] for condition in document["conditions"]] == kinds
    assert [kind for (kind,), value in metrics["market_pipeline_condition"].items() if value] == kinds
    assert [each.name for each in found] == names


def test_the_page_of_a_symbol_gets_what_concerns_it(
    service_of: Callable[..., Service], instance: dg.DagsterInstance
) -> None:
    """Of a symbol without a price, what concerns all: without others none may be stored yet."""
    service = service_of(market_symbols="BTC,ETH,ADA")
    Chain(service.database, instance)
    store_quotes(service.database, "ETH", [utc_now() - 40 * MINUTE], 1.5)
    with asking(create_app(service)) as client:
        asked = {symbol: client.get(f"/symbols/{symbol}/conditions.json").json() for symbol in ("BTC", "eth", "ADA")}
        assert kind_of(client.get("/symbols/XYZ/conditions.json")) == "unsupported-symbol"
    symbols = {symbol: [found["detail"] for found in document["conditions"]] for symbol, document in asked.items()}
    assert symbols["BTC"] == []
    (own,), (all_,) = symbols["eth"], symbols["ADA"]
    assert "newest price of ETH is" in own and "newest price of ETH, ADA is" in all_


def test_just_after_midnight_a_collection_of_yesterday_counts(
    service_of: Callable[..., Service], instance: dg.DagsterInstance
) -> None:
    today = utc_now().date()
    instance.report_runless_asset_event(materialization("raw_prices", (today, "BTC"), {}))
    midnight = start_of_day(today + DAY)
    for now, counts in ((midnight + MINUTE, True), (midnight + DAY, False)):
        state = replace(service_of(), clock=repeat(now).__next__).state()
        assert (state.collected_at is not None) == counts


def test_those_who_come_together_share_one_reading(service_of: Callable[..., Service]) -> None:
    for seconds, same in ((60.0, True), (0.0, False)):
        service = replace(service_of(), state_seconds=seconds)
        with ThreadPoolExecutor(2) as threads:
            one, other = (answer.result() for answer in [threads.submit(service.state) for _ in range(2)])
        assert (one is other) == same


def test_those_who_wait_for_a_reading_that_fails_share_its_error(
    service_of: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One after the other they would wait for a database that hangs."""
    service, asked, readings = service_of(), list[float](), list[int]()

    def clock() -> float:
        asked.append(time.monotonic())
        return asked[-1]

    def hang(*_: object) -> None:
        readings.append(len(readings))
        wait_for(lambda: len(asked) >= 2, 20, "the other one")
        raise DatabaseUnavailable("It hangs.")

    monkeypatch.setattr("market_pipeline.api.service.time", SimpleNamespace(monotonic=clock))
    monkeypatch.setattr("market_pipeline.api.service.installation_state", hang)
    with ThreadPoolExecutor(2) as threads:
        one, other = (answer.exception() for answer in [threads.submit(service.state) for _ in range(2)])
    assert one is other and isinstance(one, DatabaseUnavailable) and len(readings) == 1
    with pytest.raises(DatabaseUnavailable):
        service.state()
    assert len(readings) == 2


def test_the_consequences_of_a_broken_link_are_reported_with_it(
    service_of: Callable[..., Service], instance: dg.DagsterInstance
) -> None:
    """Ticks that are stopped leave scores behind: one cause, one condition, and the ages in the metrics."""
    service = service_of(market_symbols="BTC")
    chain = Chain(service.database, instance)
    chain.lose_scores()
    stopped_by_check(instance)
    with asking(create_app(service)) as client:
        document, metrics = client.get("/readyz").json(), metrics_of(client)
    (condition,) = document["conditions"]
    assert condition["kind"] == "check-failed" and condition["since"] is not None and "BTC" in condition["detail"]
    assert document["symbols"][0]["scores_fresh"] is False and document["jobs"][0]["last_failure"] is not None
    assert 1790 < metrics["market_pipeline_last_scored_age_seconds"]["BTC",] < 1900
    successes = metrics["market_pipeline_last_success_age_seconds"]
    assert 0 <= successes["tick",] < 60 and successes["complete_days",] == float("inf")
