"""The state of the whole chain: if a link breaks, /readyz, /metrics and the doctor report that link and no other.

Each kind of condition and its sentences are tested in `pipeline/test_conditions.py`.
"""

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

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
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline_tests.api.serving import asking, store_quotes
from market_pipeline_tests.dagster_records import beat, ended, evaluated, state_of, stopped_by_check

MINUTE = timedelta(minutes=1)


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
    document = answer.json()
    assert (answer.status_code, document["status"]) == (200, "degraded" if kinds else "ready")
    assert [condition["kind"] for condition in document["conditions"]] == kinds
    assert [kind for (kind,), value in metrics["market_pipeline_condition"].items() if value] == kinds
    assert [each.name for each in found] == names


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
