"""The state of the whole chain: whichever link breaks alone, /readyz, /metrics and doctor all tell that one."""

from datetime import timedelta

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from prometheus_client.parser import text_string_to_metric_families
from starlette.testclient import TestClient

from market_pipeline.api.app import create_app
from market_pipeline.core.clock import utc_now
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.dagster import examine_automation, examine_daemons, examine_runs
from market_pipeline.doctor.stored_prices import examine_freshness, examine_scores
from market_pipeline.prices.quotes import Quote, Source
from market_pipeline.storage.queries.scores import record_scored
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline_tests.dagster_records import LOST, beat, ended, evaluated, state_of, stopped_by_check

MINUTE = timedelta(minutes=1)
FAILURE, SUCCESS = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


class Chain:
    """An installation in which everything is well, until a test breaks a link."""

    def __init__(self, database, instance):
        self.database, self.instance = database, instance
        self.tick_schedule = state_of(instance, "tick_schedule")
        self.store(30 * MINUTE, MINUTE)
        self.score(MINUTE)
        beat(instance, MINUTE)
        evaluated(instance, self.tick_schedule, MINUTE)
        ended(instance, SUCCESS)

    def store(self, *ages):
        now = utc_now()
        rows = [Quote("BTC", self.database.coin_id("BTC"), now - age, 1.5, Source.LIVE, now - age) for age in ages]
        upsert(self.database, raw_prices, columns_of(raw_prices, rows))

    def score(self, age):
        record_scored(self.database, {"BTC": utc_now() - age})

    def lose(self, table, condition="1 = 1"):
        with self.database.writing() as connection:
            connection.exec_driver_sql(f"DELETE FROM {table} WHERE {condition}")

    def stop(self):
        state_of(self.instance, "completion_schedule", InstigatorStatus.STOPPED)

    def fail_evaluation(self, name=None):
        state = state_of(self.instance, name) if name else self.tick_schedule
        evaluated(self.instance, state, timedelta(seconds=30), TickStatus.FAILURE, LOST)

    def forget_ticks(self):
        self.instance.schedule_storage.wipe()
        evaluated(self.instance, state_of(self.instance, "tick_schedule"), 180 * MINUTE)

    def silence_source(self):
        """Asked a moment ago, without a newer price."""
        self.lose("raw_prices")
        self.lose("scored_through")
        self.store(40 * MINUTE)
        self.score(40 * MINUTE)
        event = dg.AssetMaterialization("raw_prices", partition=f"{utc_now().date()}|BTC")
        self.instance.report_runless_asset_event(event)

    def lose_scores(self):
        self.lose("scored_through")
        self.score(30 * MINUTE)
        self.store(25 * MINUTE)

    def forget_heartbeats(self):
        self.instance.wipe_daemon_heartbeats()


LINKS = {
    "nothing": (lambda chain: None, None, None, ()),
    "the scheduler is dead": (
        lambda chain: beat(chain.instance, 4 * MINUTE), "scheduler-dead", "daemons",
        ("4 min ago", "nothing collects", "`market-pipeline run` starts it"),
    ),
    "no scheduler is known": (
        Chain.forget_heartbeats, "collected-elsewhere", "daemons", ("is not known", "DAGSTER_HOME"),
    ),
    "a schedule is off": (
        Chain.stop, "schedule-off", "schedule completion_schedule",
        ("completion_schedule was turned off by hand: yesterday is not completed", "Turn it on"),
    ),
    "a schedule is not evaluated": (
        Chain.forget_ticks, "schedule-silent", "schedule tick_schedule",
        ("last evaluated 3 h ago", "`market-pipeline run`"),
    ),
    "the tick cannot be asked for": (
        Chain.fail_evaluation, "evaluation-failed", "schedule tick_schedule",
        ("tick_schedule has failed since", "under Automation", "`market-pipeline doctor` shows the error"),
    ),
    "the repair cannot be asked for": (
        lambda chain: chain.fail_evaluation("repair_sensor"), "evaluation-failed", "sensor repair_sensor",
        ("missing history is not filled in",),
    ),
    "ticks fail": (
        lambda chain: ended(chain.instance, FAILURE), "tick-failed", "job tick",
        ("The last tick failed", "none has succeeded since", "in the Dagster UI shows why"),
    ),
    "a blocking check fails": (
        lambda chain: stopped_by_check(chain.instance), "check-failed", "job tick",
        ("was stopped by a blocking check", "no_future_timestamps: 1 stored quote lies in the future. Delete it."),
    ),
    "calibrations fail": (
        lambda chain: ended(chain.instance, FAILURE, "calibrate_detectors"), "job-failed", "job calibrate_detectors",
        ("run of calibrate_detectors failed", "an older calibration"),
    ),
    "completions fail": (
        lambda chain: ended(chain.instance, FAILURE, "complete_days"), "job-failed", "job complete_days",
        ("run of complete_days failed", "past days stay incomplete"),
    ),
    "the source is silent": (
        Chain.silence_source, "quiet-market", "newest BTC", ("BTC is 40 min old, although CoinGecko was asked",),
    ),
    "scores stand still": (
        Chain.lose_scores, "scores-behind", "scores", ("BTC are fresh, but not scored since", "price_anomalies"),
    ),
}


@pytest.fixture
def database(sqlite_database):
    """What is asked of the database is tested on both beside it."""
    return sqlite_database


@pytest.mark.parametrize(("break_link", "kind", "finding", "words"), LINKS.values(), ids=LINKS)
def test_each_broken_link_alone_is_told_by_all(break_link, kind, finding, words, service_of, dagster_home, tmp_path):
    service = service_of(market_symbols="BTC")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        chain = Chain(service.database, instance)
        break_link(chain)
        subject = DoctorContext(tmp_path, {})
        subject.settings, subject.database, subject.instance = service.settings, service.database, instance
        examined = (examine_daemons, examine_automation, examine_runs, examine_freshness, examine_scores)
        found = [finding for examine in examined for finding in examine(subject) if finding.status != "ok"]
    with TestClient(create_app(service), "http://127.0.0.1:8000") as client:
        answer = client.get("/readyz")
        families = list(text_string_to_metric_families(client.get("/metrics").text))
    document = answer.json()
    assert [condition["kind"] for condition in document["conditions"]] == ([kind] if kind else [])
    assert answer.status_code == 200 and document["status"] == {
        None: "ready", "collected-elsewhere": "unknown",
    }.get(kind, "degraded")
    text = " ".join(condition["detail"] for condition in document["conditions"])
    assert all(word in text for word in words) and "disk gone" not in text, text
    samples = [sample for family in families for sample in family.samples if sample.value == 1.0]
    told = [sample.labels["kind"] for sample in samples if sample.name == "market_pipeline_condition"]
    assert told == ([kind] if kind else [])
    assert [each.name for each in found] == ([finding] if finding else [])


def test_what_follows_from_a_broken_link_is_told_with_it(service_of, dagster_home):
    """Ticks that are stopped leave scores behind: one cause, one condition, and the ages in the metrics."""
    service = service_of(market_symbols="BTC")
    with dg.DagsterInstance.from_config(str(dagster_home)) as instance:
        chain = Chain(service.database, instance)
        chain.lose_scores()
        stopped_by_check(instance)
    with TestClient(create_app(service), "http://127.0.0.1:8000") as client:
        document = client.get("/readyz").json()
        metrics = client.get("/metrics").text
    (condition,) = document["conditions"]
    assert condition["kind"] == "check-failed" and condition["since"] is not None
    assert "The prices of BTC have not been searched for anomalies since" in condition["detail"]
    assert document["symbols"][0]["scores_fresh"] is False and document["jobs"][0]["last_failure"] is not None
    ages = {
        tuple(sample.labels.values()): sample.value
        for family in text_string_to_metric_families(metrics)
        for sample in family.samples
        if family.name.removeprefix("market_pipeline_") in ("last_scored_age_seconds", "last_success_age_seconds")
    }
    assert 1790 < ages["BTC",] < 1900 and 0 <= ages["tick",] < 60 and ages["complete_days",] == float("inf")
