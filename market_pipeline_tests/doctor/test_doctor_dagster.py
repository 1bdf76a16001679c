"""Home, heartbeats, states, ticks and runs, written into a real instance as the daemon writes them."""

import shutil
import tempfile
import time
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest
# What the daemon writes has no public types.
from dagster._core.remote_origin import (
    RegisteredCodeLocationOrigin, RemoteInstigatorOrigin, RemoteRepositoryOrigin,
)
from dagster._core.scheduler.instigation import (
    InstigatorState, InstigatorStatus, InstigatorType, ScheduleInstigatorData, TickData, TickStatus,
)
from dagster._daemon.types import DaemonHeartbeat
from dagster._utils.error import SerializableErrorInfo

from market_pipeline.clock import utc_now
from market_pipeline.doctor.automation import examine_automation, examine_code_location
from market_pipeline.doctor.daemons import examine_daemons
from market_pipeline.doctor.home import examine_home, examine_instance
from market_pipeline.doctor.runs import examine_runs
from market_pipeline_tests.doctor.conftest import PROJECT

LOST = SerializableErrorInfo("OSError: disk gone\nmore", [], "OSError")


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


@pytest.fixture
def loaded(opened):
    """A Subject whose code location is loaded as well, with its findings by name."""
    (finding,) = examine_code_location(opened)
    assert finding.status == "ok"
    return opened


def beat(instance, age, *errors):
    for daemon in instance.get_required_daemon_types():
        instance.add_daemon_heartbeat(DaemonHeartbeat(time.time() - age, daemon, "id", errors))


def state_of(instance, schedule, status):
    origin = RemoteInstigatorOrigin(
        RemoteRepositoryOrigin(RegisteredCodeLocationOrigin("market_pipeline"), "__repository__"), schedule
    )
    data = ScheduleInstigatorData("*/5 * * * *")
    return instance.add_instigator_state(InstigatorState(origin, InstigatorType.SCHEDULE, status, data))


def tick(instance, state, age, status, error=None, reason=None):
    then = (utc_now() - age).timestamp()
    instance.create_tick(TickData(
        state.instigator_origin_id, state.instigator_name, InstigatorType.SCHEDULE, status, then,
        run_ids=[], selector_id=state.selector_id, error=error, skip_reason=reason,
    ))


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


def test_nothing_started_yet_is_a_warning_that_says_how(set_up, only, tmp_path):
    subject = set_up()
    finding = only(examine_home, subject)
    assert finding.status == "warn" and "make run" in finding.remedy and subject.home is None
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
    assert finding.status == "warn" and "keeps ticks waiting" in finding.detail
    subject.instance.dispose()
    (home / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_url: {env: NOT_SET_AT_ALL}\n")
    finding = only(examine_instance, subject)
    assert finding.status == "fail" and "cannot be opened" in finding.detail
    assert subject.instance is None


@pytest.mark.parametrize(
    ("age", "status", "said"),
    [(5, "ok", "report"), (240, "fail", "SCHEDULER 4 min ago"), (7200, "fail", "SCHEDULER 2 h ago")],
)
def test_the_age_of_the_heartbeats_decides(age, status, said, opened, only):
    beat(opened.instance, age)
    finding = only(examine_daemons, opened)
    assert finding.status == status and said in finding.detail
    assert finding.numbers["heartbeat_age_scheduler"] == pytest.approx(age, abs=5)


def test_daemons_that_never_reported_are_a_warning(opened, only):
    finding = only(examine_daemons, opened)
    assert finding.status == "warn" and "make run" in finding.remedy


def test_an_error_that_a_daemon_reports_is_a_failure(opened, only):
    beat(opened.instance, 5, SerializableErrorInfo("ValueError: no such thing\n", [], "ValueError"))
    finding = only(examine_daemons, opened)
    assert finding.status == "fail" and "ValueError: no such thing" in finding.detail


def test_schedules_that_nobody_touched_are_on(loaded):
    found = automation(loaded)
    names = ("tick_schedule", "completion_schedule", "ledger_schedule")
    assert {f"schedule {name}" for name in names} <= set(found)
    assert found["schedule tick_schedule"].detail == "on; it has not ticked yet"


def test_a_stopped_schedule_is_a_warning(loaded):
    state_of(loaded.instance, "tick_schedule", InstigatorStatus.STOPPED)
    found = automation(loaded)
    assert found["schedule tick_schedule"].status == "warn"
    assert found["schedule tick_schedule"].detail == "stopped by hand"
    assert found["schedule completion_schedule"].status == "ok"


@pytest.mark.parametrize("status", [InstigatorStatus.RUNNING, InstigatorStatus.DECLARED_IN_CODE])
def test_the_last_tick_of_a_schedule_is_told(status, loaded):
    state = state_of(loaded.instance, "tick_schedule", status)
    tick(loaded.instance, state, timedelta(minutes=9), TickStatus.FAILURE, LOST)
    tick(loaded.instance, state, timedelta(minutes=1), TickStatus.SUCCESS)
    finding = automation(loaded)["schedule tick_schedule"]
    assert (finding.status, finding.detail) == ("ok", "on; last tick 60 s ago success")


def test_a_failed_tick_is_a_failure_with_its_error(loaded):
    state = state_of(loaded.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    tick(loaded.instance, state, timedelta(minutes=1), TickStatus.FAILURE, LOST)
    finding = automation(loaded)["schedule tick_schedule"]
    assert finding.status == "fail" and finding.detail.endswith("failure: OSError: disk gone")


def test_a_skipped_tick_tells_its_reason(loaded):
    state = state_of(loaded.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    tick(loaded.instance, state, timedelta(minutes=1), TickStatus.SKIPPED, reason="still going")
    finding = automation(loaded)["schedule tick_schedule"]
    assert (finding.status, finding.detail) == ("ok", "on; last tick 60 s ago skipped: still going")


def test_what_is_off_by_default_and_was_not_turned_on_is_in_order(opened):
    @dg.sensor(job_name="tick", default_status=dg.DefaultSensorStatus.STOPPED)
    def quiet():
        return None

    @dg.repository
    def holder():
        return [job("tick", None), quiet]

    opened.repository = holder
    assert automation(opened)["sensor quiet"].detail == "off, as it is unless somebody turns it on"


def test_a_schedule_that_stopped_ticking_is_a_warning(loaded):
    state = state_of(loaded.instance, "tick_schedule", InstigatorStatus.DECLARED_IN_CODE)
    tick(loaded.instance, state, timedelta(hours=3), TickStatus.SUCCESS)
    finding = automation(loaded)["schedule tick_schedule"]
    assert finding.status == "warn" and "3 h ago success, and none since" in finding.detail


def job(name, outcome):
    @dg.op(name=f"op_of_{name}")
    def work():
        if outcome is not None:
            raise outcome

    @dg.job(name=name, executor_def=dg.in_process_executor)
    def built():
        work()

    return built


def test_the_newest_failed_run_tells_its_reason(opened, only):
    assert "none has finished" in only(examine_runs, opened).detail
    for name, outcome in (
        ("good", None),
        ("broken", ValueError("no such coin\nat all")),
        ("tick", dg.Failure("No prices for BTC: why.")),
    ):
        job(name, outcome).execute_in_process(instance=opened.instance, raise_on_error=False)
    finding = only(examine_runs, opened)
    assert finding.status == "fail" and finding.detail.endswith("No prices for BTC: why.")
    assert finding.numbers["jobs"] == "tick, broken"
    job("tick", None).execute_in_process(instance=opened.instance)
    finding = only(examine_runs, opened)
    assert finding.detail.startswith("broken failed") and finding.detail.endswith("ValueError: no such coin")
    job("broken", None).execute_in_process(instance=opened.instance)
    assert only(examine_runs, opened).status == "ok"


def test_a_run_that_was_stopped_with_everything_else_is_no_failure(opened, only):
    """Ctrl-C in the middle of a tick; it is started again with the rest."""
    stopped = dg.DagsterExecutionInterruptedError()
    job("tick", stopped).execute_in_process(instance=opened.instance, raise_on_error=False)
    assert opened.instance.get_runs()[0].status.value == "FAILURE"
    finding = only(examine_runs, opened)
    assert finding.status == "ok" and "or was stopped: tick" in finding.detail


def test_a_failure_of_days_ago_is_history(opened, only):
    job("broken", ValueError("long ago")).execute_in_process(instance=opened.instance, raise_on_error=False)
    opened.clock = lambda: datetime.now(timezone.utc) + timedelta(days=2)
    assert only(examine_runs, opened).status == "ok"


def test_a_run_that_failed_without_a_step_tells_what_it_said(opened, only):
    run = opened.instance.create_run_for_job(job("tick", None))
    opened.instance.report_run_failed(run, "The worker was killed.")
    assert "The worker was killed." in only(examine_runs, opened).detail


@pytest.mark.parametrize("examination", [
    examine_instance, examine_daemons, examine_automation, examine_runs, examine_code_location,
])
def test_without_a_home_it_is_said_that_nothing_was_examined(examination, set_up, only):
    assert only(examination, set_up()).because_of == "dagster home"


def test_schedules_need_the_code(opened, only):
    assert only(examine_automation, opened).because_of == "code location"
