"""The state of the whole chain over a real database and instance: /readyz, /metrics and doctor agree.

Each kind of condition and its sentences are tested in `pipeline/test_conditions.py`.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.api.service import Service
from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.dagster import examine_automation, examine_daemons, examine_runs
from market_pipeline.doctor.stored_prices import examine_freshness, examine_scores
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.dagster_records import beat, ended, evaluated, state_of, stopped_by_check

MINUTE = timedelta(minutes=1)


class Chain:
    """An installation in which everything is well, until a test breaks a link."""

    def __init__(self, database: Database, instance: dg.DagsterInstance) -> None:
        self.database, self.instance = database, instance
        self.store(30 * MINUTE, MINUTE)
        record_scored(database, {"BTC": utc_now() - MINUTE})
        beat(instance, MINUTE)
        evaluated(instance, state_of(instance, "tick_schedule"), MINUTE)
        ended(instance, dg.DagsterRunStatus.SUCCESS)

    def store(self, *ages: timedelta) -> None:
        now = utc_now()
        rows = [Quote("BTC", self.database.coin_id("BTC"), now - age, 1.5, Source.LIVE, now - age) for age in ages]
        upsert(self.database, raw_prices, columns_of(raw_prices, rows))

    def forget(self, table: str) -> None:
        with self.database.writing() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table}")

    def silence_source(self) -> None:
        """Asked a moment ago, without a newer price."""
        for table in ("raw_prices", "scored_through"):
            self.forget(table)
        self.store(40 * MINUTE)
        record_scored(self.database, {"BTC": utc_now() - 40 * MINUTE})
        event = dg.AssetMaterialization("raw_prices", partition=f"{utc_now().date()}|BTC")
        self.instance.report_runless_asset_event(event)

    def lose_scores(self) -> None:
        self.forget("scored_through")
        record_scored(self.database, {"BTC": utc_now() - 30 * MINUTE})
        self.store(25 * MINUTE)


# How a link breaks, its condition, and the diagnosis of doctor.
LINKS: dict[str, tuple[Callable[[Chain], None], list[str], list[str]]] = {
    "nothing": (lambda chain: None, [], []),
    "the scheduler is dead": (lambda chain: beat(chain.instance, 4 * MINUTE), ["scheduler-dead"], ["daemons"]),
    "a blocking check fails": (lambda chain: stopped_by_check(chain.instance), ["check-failed"], ["job tick"]),
    "the source is silent": (Chain.silence_source, ["quiet-market"], ["newest BTC"]),
    "scores stand still": (Chain.lose_scores, ["scores-behind"], ["scores"]),
}


@pytest.fixture
def database(sqlite_database: Database) -> Database:
    """What is read from the database is tested on both beside it."""
    return sqlite_database


@pytest.mark.parametrize(("break_link", "kinds", "names"), LINKS.values(), ids=LINKS)
def test_each_broken_link_is_reported_by_all(
    break_link: Callable[[Chain], None], kinds: list[str], names: list[str], service_of: Callable[..., Service],
    dagster_home: Path, tmp_path: Path,
) -> None:
    service = service_of(market_symbols="BTC")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        break_link(Chain(service.database, instance))
        context = DoctorContext(tmp_path, {})
        context.settings, context.database, context.instance = service.settings, service.database, instance
        examined = (examine_daemons, examine_automation, examine_runs, examine_freshness, examine_scores)
        diagnoses = [diagnosis for examine in examined for diagnosis in examine(context)]
    with TestClient(create_app(service), "http://127.0.0.1:8000") as client:
        answer = client.get("/readyz")
        families = text_string_to_metric_families(client.get("/metrics").text)
        samples = [sample for family in families for sample in family.samples]
    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "degraded" if kinds else "ready")
    assert [condition["kind"] for condition in document["conditions"]] == kinds
    conditions = [sample for sample in samples if sample.name == "market_pipeline_condition"]
    assert [sample.labels["kind"] for sample in conditions if sample.value == 1.0] == kinds
    assert [diagnosis.name for diagnosis in diagnoses if diagnosis.status != "ok"] == names


def test_the_consequences_of_a_broken_link_are_not_conditions(
    service_of: Callable[..., Service], dagster_home: Path
) -> None:
    """Ticks that are stopped leave scores behind: one cause, one condition, and the ages in the metrics."""
    service = service_of(market_symbols="BTC")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        Chain(service.database, instance).lose_scores()
        stopped_by_check(instance)
    with TestClient(create_app(service), "http://127.0.0.1:8000") as client:
        document = client.get("/readyz").json()
        metrics = client.get("/metrics").text
    assert [condition["kind"] for condition in document["conditions"]] == ["check-failed"]
    assert document["symbols"][0]["scores_fresh"] is False and document["jobs"][0]["last_failure"] is not None
    ages = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if family.name.removeprefix("market_pipeline_") in ("last_scored_age_seconds", "last_success_age_seconds")
    }
    assert 1790 < ages["BTC",] < 1900 and 0 <= ages["tick",] < 60 and ages["complete_days",] == float("inf")
