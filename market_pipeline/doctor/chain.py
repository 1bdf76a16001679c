"""Do Dagster's daemons report, are schedules and sensors on, and how did the last run of each job end?

What is wrong with them is judged in `market_pipeline.state`; here it becomes findings.
"""

from collections.abc import Iterator

from market_pipeline.core.wording import first_line, span
from market_pipeline.dagster_instance.facts import automation_states, heartbeats, job_states
from market_pipeline.dagster_instance.ownership import located, owner_of
from market_pipeline.doctor.context import Finding, Number, Subject, fail, not_examined, ok, warn
from market_pipeline.pipeline.conditions import Condition, of_automation, of_job
from market_pipeline.pipeline.facts import AutomationState, JobState
from market_pipeline.pipeline.names import WITHOUT_JOB, automations

_START = "Start with `market-pipeline run`, and leave it running."
# Dagster's own name for runs of assets that are chosen in the UI.
_BY_HAND = "__ASSET_JOB"


def examine_code_location(subject: Subject) -> Iterator[Finding]:
    """Load what the UI and the daemon load."""
    if subject.settings is None or subject.home is None:
        yield not_examined("code location", "dagster home" if subject.settings else "settings")
        return
    from market_pipeline.build import build_defs

    repository = build_defs(subject.settings).get_repository_def()
    schedules, sensors = len(repository.schedule_defs), len(repository.sensor_defs)
    yield ok("code location", f"loads; schedules: {schedules}, sensors: {sensors}")


def examine_daemons(subject: Subject) -> Iterator[Finding]:
    """One finding about all of them: the oldest heartbeat counts."""
    if subject.instance is None:
        yield not_examined("daemons", subject.without_instance)
        return
    now = subject.clock()
    beats = heartbeats(subject.instance, now)
    ages = {beat.daemon: max(0.0, (now - beat.at).total_seconds()) for beat in beats if beat.at}
    if not ages:
        yield warn("daemons", "none has ever reported here", _START)
        return
    numbers = {f"heartbeat_age_{name.lower()}": round(age) for name, age in ages.items()}
    errors = [f"{beat.daemon}: {first_line(beat.error)}" for beat in beats if beat.error]
    silent = [beat.daemon for beat in beats if not beat.alive]
    if errors:
        remedy = "Read the daemon's output for the rest."
        yield fail("daemons", f"errors reported by {'; '.join(errors)}", remedy, **numbers)
    elif silent:
        last = [f"{name} {span(ages[name])} ago" if name in ages else f"{name} never" for name in silent]
        yield fail("daemons", f"nothing is scheduled; last reports: {', '.join(last)}", _START, **numbers)
    else:
        oldest = span(max(ages.values()))
        yield ok("daemons", f"{len(ages)} report, the oldest heartbeat {oldest} ago", **numbers)


def examine_automation(subject: Subject) -> Iterator[Finding]:
    """One finding for each schedule and sensor."""
    if subject.instance is None or subject.settings is None:
        yield not_examined("schedules", subject.without_instance if subject.settings else "settings")
        return
    owner = located(subject.instance, owner_of(subject.settings))
    for state in automation_states(subject.instance, owner, automations(subject.settings.collect_cron)):
        yield _of_automation(subject, state)


def _of_automation(subject: Subject, state: AutomationState) -> Finding:
    now, title = subject.clock(), state.automation.title
    numbers: dict[str, Number] = {"status": "on" if state.on else "stopped"}
    if state.evaluated_at is not None:
        age = (now - state.evaluated_at).total_seconds()
        numbers |= {"tick_status": state.outcome, "tick_age_seconds": round(age)}
    found = of_automation(state, now)
    if found is not None:
        return _finding(title, found, numbers, grave=found.kind == "evaluation-failed")
    if state.evaluated_at is None:
        return ok(title, "on; it has not ticked yet", **numbers)
    words = f": {state.words}" if state.words else ""
    return ok(title, f"on; last tick {span(now - state.evaluated_at)} ago {state.outcome}{words}", **numbers)


def examine_runs(subject: Subject) -> Iterator[Finding]:
    """One finding for each job, and one for what is started by hand in the UI if that failed."""
    if subject.instance is None or subject.settings is None:
        yield not_examined("runs", subject.without_instance if subject.settings else "settings")
        return
    owner = located(subject.instance, owner_of(subject.settings))
    for state in job_states(subject.instance, owner, [*WITHOUT_JOB, _BY_HAND]):
        finding = _of_job(subject, state)
        if state.job != _BY_HAND or finding.status != "ok":
            yield finding


def _of_job(subject: Subject, state: JobState) -> Finding:
    now, title = subject.clock(), f"job {state.job}"
    numbers: dict[str, Number] = {}
    if state.succeeded_at is not None:
        numbers["last_success_age_seconds"] = round((now - state.succeeded_at).total_seconds())
    found = of_job(state, now)
    if found is not None and state.failed is not None:
        numbers["run_id"] = state.failed.run_id
        return _finding(title, found, numbers, grave=state.job != _BY_HAND)
    if state.succeeded_at is None:
        return ok(title, "no run has succeeded yet", **numbers)
    return ok(title, f"last success {span(now - state.succeeded_at)} ago", **numbers)


def _finding(title: str, found: Condition, numbers: dict[str, Number], *, grave: bool) -> Finding:
    detail = f"{found.detail} {found.quoted}".strip()
    return (fail if grave else warn)(title, detail, found.remedy, **numbers)
