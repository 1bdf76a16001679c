"""Home, heartbeats, states, ticks and runs, written into a real instance as the daemon writes them."""

import shutil
import tempfile
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
from dagster._core.scheduler.instigation import InstigatorStatus, TickStatus
from dagster._utils.error import SerializableErrorInfo

from market_pipeline.build import build_defs
from market_pipeline.dagster_instance.ownership import INSTALLATION, owner_of
from market_pipeline.defs.jobs import build_jobs
from market_pipeline.doctor.dagster import (
    examine_automation,
    examine_code_location,
    examine_daemons,
    examine_home,
    examine_instance,
    examine_runs,
)
from market_pipeline.pipeline.names import CONSEQUENCES, automations
from market_pipeline_tests.dagster_records import LOST, beat, ended, evaluated, state_of, stopped_by_check
from market_pipeline_tests.doctor.conftest import PROJECT


@pytest.fixture(scope="session")
def used_home(tmp_path_factory):
    """A home whose storage has been created."""
    home = tmp_path_factory.mktemp("used") / "home"
    home.mkdir()
    shutil.copy(PROJECT / "dagster.yaml", home)
    with dg.DagsterInstance.from_config(str(home)) as created:
        assert created.get_runs_count() == 0
    return home


@pytest.fixture
def home(tmp_path, used_home):
    return shutil.copytree(used_home, tmp_path / ".dagster_home")


@pytest.fixture
def opened(home, set_up):
    """A Subject whose instance is open."""
    subject = set_up()
    subject.home = home
    with dg.DagsterInstance.from_config(str(home)) as subject.instance:
        yield subject


def automation(subject):
    return {finding.name: finding for finding in examine_automation(subject)}


def test_a_folder_that_stays_is_durable(home, set_up, only, monkeypatch, tmp_path):
    # Tests work in the folder for temporary files; for this one that is elsewhere.
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    subject = set_up()
    assert only(examine_home, subject).status == "ok"
    assert subject.home == home


@pytest.mark.parametrize("name", [".dagster_home", ".tmp_dagster_home_x1"])
def test_a_temporary_folder_is_a_warning(name, home, set_up, only, monkeypatch, tmp_path):
    monkeypatch.setenv("DAGSTER_HOME", str(home.rename(tmp_path / name)))
    if name != ".dagster_home":
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "elsewhere"))
    finding = only(examine_home, set_up())
    assert finding.status == "warn" and "lost with it" in finding.detail
    assert ("market-pipeline run" in finding.remedy) == (name != ".dagster_home"), "no help for a project in there"


def test_nothing_started_yet_is_a_warning_that_says_how(set_up, only, tmp_path):
    subject = set_up()
    finding = only(examine_home, subject)
    assert finding.status == "warn" and "market-pipeline run" in finding.remedy
    assert list(tmp_path.iterdir()) == [], "nothing was created"


@pytest.mark.parametrize("given", ["relative/home", "/nowhere/at/all"])
def test_a_home_that_cannot_be_one_is_a_failure(given, set_up, only, monkeypatch):
    monkeypatch.setenv("DAGSTER_HOME", given)
    finding = only(examine_home, set_up())
    assert finding.status == "fail" and f"DAGSTER_HOME={given}" in finding.detail


def test_an_instance_opens_or_says_why_not(home, set_up, only, monkeypatch):
    subject = set_up()
    list(examine_home(subject))
    assert only(examine_instance, subject).status == "ok"
    subject.instance.dispose()
    (home / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    finding = only(examine_instance, subject)
    assert finding.status == "warn" and "wait behind queued history" in finding.detail
    subject.instance.dispose()
    (home / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_url: {env: NOT_SET_AT_ALL}\n")
    finding = only(examine_instance, subject)
    assert finding.status == "fail" and "cannot be opened" in finding.detail


@pytest.mark.parametrize(
    ("age", "status", "said"),
    [(5, "ok", "report"), (240, "fail", "SCHEDULER 4 min ago"), (7200, "fail", "SCHEDULER 2 h ago")],
)
def test_the_age_of_the_heartbeats_decides(age, status, said, opened, only):
    beat(opened.instance, timedelta(seconds=age))
    finding = only(examine_daemons, opened)
    assert finding.status == status and said in finding.detail
    assert finding.numbers["heartbeat_age_scheduler"] == pytest.approx(age, abs=5)


def test_daemons_that_never_reported_are_a_warning(opened, only):
    finding = only(examine_daemons, opened)
    assert finding.status == "warn" and "market-pipeline run" in finding.remedy


def test_an_error_that_a_daemon_reports_is_a_failure(opened, only):
    beat(opened.instance, timedelta(seconds=5), SerializableErrorInfo("ValueError: no such thing\n", [], "ValueError"))
    finding = only(examine_daemons, opened)
    assert finding.status == "fail" and "ValueError: no such thing" in finding.detail


def test_schedules_that_nobody_touched_are_on(opened):
    found = automation(opened)
    names = ("tick_schedule", "completion_schedule", "ledger_schedule")
    assert {f"schedule {name}" for name in names} <= set(found)
    assert found["schedule tick_schedule"].detail == "on; it has not ticked yet"


def test_a_stopped_schedule_is_a_warning(opened):
    state_of(opened.instance, "tick_schedule", InstigatorStatus.STOPPED)
    found = automation(opened)
    assert found["schedule tick_schedule"].status == "warn"
    assert found["schedule tick_schedule"].detail.startswith("tick_schedule was turned off by hand")
    assert found["schedule completion_schedule"].status == "ok"


@pytest.mark.parametrize("status", [InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE])
def test_the_last_tick_of_a_schedule_is_told(status, opened):
    state = state_of(opened.instance, "tick_schedule", status)
    evaluated(opened.instance, state, timedelta(minutes=9), TickStatus.FAILURE, LOST)
    evaluated(opened.instance, state, timedelta(minutes=1), TickStatus.SUCCESS)
    finding = automation(opened)["schedule tick_schedule"]
    assert (finding.status, finding.detail) == ("ok", "on; last tick 60 s ago success")


def test_a_failed_tick_is_a_failure_with_its_error(opened):
    state = state_of(opened.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    evaluated(opened.instance, state, timedelta(minutes=1), TickStatus.FAILURE, LOST)
    finding = automation(opened)["schedule tick_schedule"]
    assert finding.status == "fail" and finding.detail.endswith("OSError: disk gone")


def test_a_skipped_tick_tells_its_reason(opened):
    state = state_of(opened.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    evaluated(opened.instance, state, timedelta(minutes=1), TickStatus.SKIPPED, reason="still going")
    finding = automation(opened)["schedule tick_schedule"]
    assert (finding.status, finding.detail) == ("ok", "on; last tick 60 s ago skipped: still going")


def test_a_schedule_that_stopped_ticking_is_a_warning(opened):
    state = state_of(opened.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    evaluated(opened.instance, state, timedelta(hours=3), TickStatus.SUCCESS)
    finding = automation(opened)["schedule tick_schedule"]
    assert finding.status == "warn" and "was last evaluated 3 h ago" in finding.detail


def job(name, outcome):
    @dg.op(name=f"op_of_{name}")
    def work():
        if outcome is not None:
            raise outcome

    @dg.job(name=name, executor_def=dg.in_process_executor)
    def built():
        work()

    return built


def runs(subject):
    """The findings that are not ok, by name; there is one for each job."""
    found = {finding.name: finding for finding in examine_runs(subject)}
    assert {f"job {name}" for name in CONSEQUENCES} <= set(found)
    return {name: finding for name, finding in found.items() if finding.status != "ok"}


def test_each_job_whose_last_run_failed_tells_its_reason(opened):
    assert runs(opened) == {}
    for name, outcome in (
        ("complete_days", ValueError("no such coin\nat all")), ("__ASSET_JOB", ValueError("by hand")),
        ("score_days", None), ("tick", dg.Failure("No prices for BTC: why.")), ("tick", dg.Failure("Nor now: why.")),
    ):
        job(name, outcome).execute_in_process(instance=opened.instance, raise_on_error=False)
    found = runs(opened)
    assert set(found) == {"job tick", "job complete_days", "job __ASSET_JOB"}
    tick, days = found["job tick"], found["job complete_days"]
    assert (tick.status, tick.remedy) == ("fail", "Nor now: why.")
    assert tick.detail.startswith("The last tick failed ") and "none has succeeded yet" in tick.detail
    assert days.detail.endswith("ValueError: no such coin") and days.numbers["run_id"][:8] in days.remedy
    assert found["job __ASSET_JOB"].status == "warn"
    job("tick", None).execute_in_process(instance=opened.instance)
    assert set(runs(opened)) == {"job complete_days", "job __ASSET_JOB"}


def test_what_happens_in_another_code_location_is_left_out(opened):
    ours = {"dagster/code_location": "market_pipeline", **owner_of(opened.settings).tags}
    theirs = {"dagster/code_location": "theirs", INSTALLATION: "another"}
    ended(opened.instance, dg.DagsterRunStatus.SUCCESS, tags=ours)
    ended(opened.instance, dg.DagsterRunStatus.FAILURE, tags=theirs)
    ended(opened.instance, dg.DagsterRunStatus.FAILURE, "__ASSET_JOB", {"dagster/code_location": "theirs"})
    state_of(opened.instance, "tick_schedule", InstigatorStatus.STOPPED, location="theirs")
    assert {finding.status for finding in examine_runs(opened)} == {"ok"}
    assert automation(opened)["schedule tick_schedule"].status == "ok"
    ended(opened.instance, dg.DagsterRunStatus.FAILURE, tags=ours)
    ended(opened.instance, dg.DagsterRunStatus.SUCCESS, tags=theirs)
    assert set(runs(opened)) == {"job tick"}


def test_ticks_that_fail_are_not_passed_over_where_none_is_known_to_be_ours(opened):
    """The same database has another name on another machine."""
    ended(opened.instance, dg.DagsterRunStatus.FAILURE, tags={INSTALLATION: "under another name"})
    assert set(runs(opened)) == {"job tick"}


def test_a_run_that_a_check_stopped_tells_what_the_check_found(opened):
    stopped_by_check(opened.instance)
    finding = runs(opened)["job tick"]
    assert "was stopped by a blocking check" in finding.detail
    assert finding.remedy == "no_future_timestamps: 1 stored quote lies in the future. Delete it."


def test_a_run_that_was_stopped_with_everything_else_is_no_failure(opened):
    """Ctrl-C in the middle of a tick; it is started again with the rest."""
    stopped = dg.DagsterExecutionInterruptedError()
    job("tick", stopped).execute_in_process(instance=opened.instance, raise_on_error=False)
    assert opened.instance.get_runs()[0].status.value == "FAILURE"
    assert runs(opened) == {}


def test_a_failure_of_days_ago_is_history_but_for_ticks(opened):
    for name in ("tick", "complete_days"):
        ended(opened.instance, dg.DagsterRunStatus.FAILURE, name)
    opened.clock = lambda: datetime.now(timezone.utc) + timedelta(days=2)
    assert set(runs(opened)) == {"job tick"}


def test_a_run_that_failed_without_a_step_tells_what_it_said(opened):
    run = opened.instance.create_run_for_job(job("tick", None))
    opened.instance.report_run_failed(run, "The worker was killed.")
    assert "The worker was killed." in runs(opened)["job tick"].detail


@pytest.mark.parametrize("examination", [
    examine_instance, examine_daemons, examine_automation, examine_runs, examine_code_location,
])
def test_without_a_home_it_is_said_that_nothing_was_examined(examination, set_up, only):
    assert only(examination, set_up()).because_of in ("dagster home", "dagster instance")


def test_what_is_watched_is_what_the_code_location_has(opened):
    """Their names and times are known without loading it."""
    assert next(iter(examine_code_location(opened))).status == "ok"
    repository = build_defs(opened.settings).get_repository_def()
    watched = {automation.name: automation.cron for automation in automations(opened.settings.collect_cron)}
    assert watched == {schedule.name: schedule.cron_schedule for schedule in repository.schedule_defs} | {
        sensor.name: None for sensor in repository.sensor_defs
    }
    assert all(each.default_status.value == "RUNNING" for each in [*repository.schedule_defs, *repository.sensor_defs])
    assert set(CONSEQUENCES) == {job.name for job in build_jobs(owner_of(opened.settings))}
