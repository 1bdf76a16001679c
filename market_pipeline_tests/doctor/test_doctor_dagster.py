"""Home, instance, daemons, schedules and runs, in a real instance with the records of daemon and runs."""

import shutil
import tempfile
from collections import namedtuple
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
import time_machine
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._utils.error import SerializableErrorInfo
from sqlalchemy import text

from market_pipeline.build import build_defs
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import create_instance, own_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.run_storage import stored_bytes
from market_pipeline.defs.jobs import build_jobs
from market_pipeline.doctor.context import DoctorContext
from market_pipeline.doctor.dagster import (
    examine_automation,
    examine_code_location,
    examine_daemons,
    examine_home,
    examine_instance,
    examine_runs,
    examine_storage,
)
from market_pipeline.doctor.database import examine_connections
from market_pipeline.pipeline.names import CONSEQUENCES, automations
from market_pipeline.storage.engine import Database
from market_pipeline_tests.dagster_records import LOST, beat, ended, evaluated, executed, state_of
from market_pipeline_tests.doctor.examining import Installed, only

Usage = namedtuple("Usage", "total used free")


@pytest.mark.parametrize(("name", "elsewhere", "status"), [
    (".dagster_home", True, "ok"), (".dagster_home", False, "warn"), (".tmp_dagster_home_x1", True, "warn"),
])
def test_only_a_permanent_folder_is_durable(
    name: str, elsewhere: bool, status: str, home: Path, installed: Installed, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Tests work in the folder for temporary files, which is `elsewhere` for some."""
    home = home.rename(tmp_path / name)
    if elsewhere:
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    context = installed(DAGSTER_HOME=str(home))
    diagnosis = only(examine_home, context)
    assert (diagnosis.status, diagnosis.numbers, context.home) == (status, {"home": str(home)}, home)
    assert ("market-pipeline run" in diagnosis.remedy) == name.startswith(".tmp"), "the others would not be helped"


def test_a_home_that_was_not_used_is_a_warning(installed: Installed, tmp_path: Path) -> None:
    context = installed()
    assert only(examine_home, context).status == "warn"
    assert list(tmp_path.iterdir()) == [], "nothing was created"
    for examination in (examine_instance, examine_code_location):
        assert only(examination, context).because_of == "dagster home"
    for examination in (examine_daemons, examine_automation, examine_runs):
        assert only(examination, context).because_of == "dagster instance"


@pytest.mark.parametrize("given", ["relative/home", "/nowhere/at/all"])
def test_a_home_that_cannot_be_one_is_a_failure(given: str, installed: Installed) -> None:
    diagnosis = only(examine_home, installed(DAGSTER_HOME=given))
    assert diagnosis.status == "fail" and f"DAGSTER_HOME={given}" in diagnosis.detail


@pytest.mark.parametrize(("config", "status"), [
    (None, "ok"), ("telemetry: {enabled: false}", "warn"),
    ("storage:\n  postgres:\n    postgres_url: {env: NOT_SET_AT_ALL}\n", "fail"),
])
def test_an_instance_opens_or_says_why_not(config: str | None, status: str, home: Path, installed: Installed) -> None:
    context = installed()
    context.home = home
    if config:
        (home / "dagster.yaml").write_text(config)
    diagnosis = only(examine_instance, context)
    assert diagnosis.status == status and diagnosis.numbers == ({} if status == "fail" else {"runs": 0})
    if status != "fail":
        context.instance.dispose()


def test_an_instance_in_postgresql_says_where_it_is(
    home: Path, installed: Installed, postgres_database: Database
) -> None:
    """Examined before it is created, when it cannot be, and as it was moved from files."""
    context = installed(postgres_database)
    context.home = home
    found = [only(examine_instance, context)]
    context.instance.dispose()
    storage = storage_of(context.settings)
    with own_home(home, storage, ours=True):
        found.append(only(examine_instance, context))
        create_instance(home, storage)
    found += [only(examine_instance, context), only(examine_home, context), only(examine_connections, context)]
    context.instance.dispose()
    with storage.database().writing() as connection:
        connection.execute(text("DROP SCHEMA dagster CASCADE"))
        connection.execute(text("CREATE SCHEMA dagster"))
        connection.execute(text("CREATE TABLE dagster.alembic_version ()"))
    found.append(only(examine_instance, context))
    with storage.database().writing() as connection:
        connection.execute(text("DROP SCHEMA dagster CASCADE"))
    assert [(one.status, word in one.detail) for one, word in zip(found, (
        "in SQLite files; runs: 0, although DATABASE_URL names PostgreSQL", "tables are not in schema dagster",
        "opened in schema dagster of postgresql", "whose storage is elsewhere", "connections that the server allows",
        "the alembic_version of another project",
    ), strict=True)] == [(status, True) for status in ("warn", "warn", "ok", "ok", "ok", "fail")]
    assert "former ones are in SQLite files" in found[2].detail
    assert found[0].remedy.startswith("Start with `market-pipeline run`, which moves it")


def test_few_free_connections_are_a_warning(installed: Installed, postgres_database: Database) -> None:
    name = postgres_database.url.database
    with postgres_database.writing() as connection:
        connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT 15"))
    diagnosis = only(examine_connections, installed(postgres_database))
    assert diagnosis.status == "warn" and diagnosis.numbers["connections_allowed"] == 15
    assert f"of 15 connections that the database {name} allows are in use" in diagnosis.detail
    with postgres_database.writing() as connection:
        connection.execute(text(f"ALTER DATABASE {name} CONNECTION LIMIT -1"))


@pytest.mark.parametrize(("age", "status"), [(5, "ok"), (240, "fail"), (7200, "fail")])
def test_the_age_of_the_heartbeats_decides(age: int, status: str, opened: DoctorContext) -> None:
    assert only(examine_daemons, opened).status == "warn", "none was started yet"
    beat(opened.instance, timedelta(seconds=age))
    diagnosis = only(examine_daemons, opened)
    assert diagnosis.status == status
    assert diagnosis.numbers["heartbeat_age_scheduler"] == pytest.approx(age, abs=5)


def test_an_error_that_a_daemon_reports_is_a_failure(opened: DoctorContext) -> None:
    beat(opened.instance, timedelta(seconds=5), SerializableErrorInfo("ValueError: no such thing\n", [], "ValueError"))
    diagnosis = only(examine_daemons, opened)
    assert diagnosis.status == "fail" and diagnosis.detail.count("ValueError: no such thing") == 1


def test_each_schedule_has_its_state_and_its_last_tick(opened: DoctorContext) -> None:
    """A stopped one and a silent one are warnings; one that fails is a failure, with the error."""
    minute = timedelta(minutes=1)
    state_of(opened.instance, "completion_schedule", InstigatorStatus.STOPPED)
    evaluated(opened.instance, state_of(opened.instance, "tick_schedule"), minute, TickStatus.FAILURE, LOST)
    evaluated(opened.instance, state_of(opened.instance, "ledger_schedule"), 180 * minute)
    skipped = state_of(opened.instance, "repair_sensor")
    evaluated(opened.instance, skipped, minute, TickStatus.SKIPPED, reason="still going")
    found = {diagnosis.name: diagnosis for diagnosis in examine_automation(opened)}
    assert {name: diagnosis.status for name, diagnosis in found.items()} == {
        "schedule tick_schedule": "fail",
        "schedule completion_schedule": "warn",
        "schedule calibration_schedule": "ok",
        "schedule ledger_schedule": "warn",
        "schedule retention_schedule": "ok",
        "sensor repair_sensor": "ok",
    }
    assert found["schedule tick_schedule"].detail.endswith("OSError: disk gone")
    assert found["schedule completion_schedule"].numbers["status"] == "stopped"
    assert found["sensor repair_sensor"].detail.endswith("skipped: still going")
    assert found["schedule ledger_schedule"].numbers["tick_age_seconds"] == pytest.approx(10_800, abs=30)


def test_each_job_whose_last_run_failed_shows_its_reason(opened: DoctorContext) -> None:
    """What was started by hand is only named if it failed, and is only a warning."""
    assert [diagnosis.status for diagnosis in examine_runs(opened)] == ["ok"] * len(CONSEQUENCES)
    for job in ("score_days", "tick"):
        ended(opened.instance, dg.DagsterRunStatus.SUCCESS, job)
    run = executed(opened.instance, "tick", ValueError("no such coin"))
    ended(opened.instance, dg.DagsterRunStatus.FAILURE, "__ASSET_JOB")
    found = {diagnosis.name: diagnosis for diagnosis in examine_runs(opened)}
    tick = found["job tick"]
    assert tick.status == "fail" and tick.detail.endswith("ValueError: no such coin")
    assert tick.numbers["run_id"] == run.run_id and run.run_id[:8] in tick.remedy
    assert tick.numbers["last_success_age_seconds"] == pytest.approx(0, abs=30)
    assert found["job __ASSET_JOB"].status == "warn"
    assert found["job score_days"].status == found["job complete_days"].status == "ok"
    opened.clock = lambda: utc_now() + timedelta(days=2)
    failed = [diagnosis.name for diagnosis in examine_runs(opened) if diagnosis.status != "ok"]
    assert failed == ["job tick"], "that of days ago is history, but for ticks"


def test_what_is_examined_is_what_the_code_location_has(opened: DoctorContext) -> None:
    """Their names and times are known without loading it."""
    assert only(examine_code_location, opened).status == "ok"
    repository = build_defs(opened.settings).get_repository_def()
    known = {automation.name: automation.cron for automation in automations(opened.settings.collect_cron)}
    assert known == {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs} | {
        sensor.name: None for sensor in repository.sensor_defs
    }
    assert set(CONSEQUENCES) == {job.name for job in build_jobs(owner_of(opened.settings))}


@pytest.mark.parametrize(("free", "status", "days"), [(10e9, "ok", 100), (1e9, "warn", 10)])
def test_the_growth_of_the_last_week_tells_how_long_the_disk_lasts(
    free: float, status: str, days: int, opened: DoctorContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert "not known" in only(examine_storage, opened).detail
    taken = stored_bytes(opened.instance)
    with time_machine.travel(utc_now() - timedelta(days=5)):
        metadata = {"dagster_bytes": taken - 500_000_000, "prices_bytes": 0}
        opened.instance.report_runless_asset_event(dg.AssetMaterialization("storage_retention", metadata=metadata))
    monkeypatch.setattr(shutil, "disk_usage", lambda folder: Usage(100e9, 0, int(free)))
    diagnosis = only(examine_storage, opened)
    assert (diagnosis.status, diagnosis.numbers["days_until_full"]) == (status, days)
    assert diagnosis.numbers["dagster_bytes_a_day"] == pytest.approx(100e6, rel=0.01)
