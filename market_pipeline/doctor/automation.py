"""Are the schedules and sensors on, and how did the last tick of each go? Does the code load?"""

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from market_pipeline.doctor.finding import Finding, Number, fail, not_examined, ok, warn
from market_pipeline.doctor.subject import Subject
from market_pipeline.doctor.words import first_line, span
from market_pipeline.prices.freshness import oldest_fresh

if TYPE_CHECKING:
    import dagster as dg
    # Dagster has no public type for what it knows of a schedule or sensor.
    from dagster._core.scheduler.instigation import InstigatorState, InstigatorTick

    Instigator = dg.ScheduleDefinition | dg.SensorDefinition


def examine_code_location(subject: Subject) -> Iterator[Finding]:
    """Load what the UI and the daemon load; it is kept in `subject`."""
    if subject.settings is None or subject.home is None:
        yield not_examined("code location", "dagster home" if subject.settings else "settings")
        return
    from market_pipeline.definitions import build_defs

    subject.repository = build_defs(subject.settings).get_repository_def()
    schedules, sensors = len(subject.repository.schedule_defs), len(subject.repository.sensor_defs)
    yield ok("code location", f"loads; schedules: {schedules}, sensors: {sensors}")


def examine_automation(subject: Subject) -> Iterator[Finding]:
    """One finding for each schedule and sensor of the code location."""
    if subject.instance is None:
        yield not_examined("schedules", subject.without_instance)
        return
    if subject.repository is None:
        yield not_examined("schedules", "code location")
        return
    # States of code locations that were renamed may have the same names; the newest comes last.
    states = {state.name: state for state in subject.instance.all_instigator_state()}
    for schedule in sorted(subject.repository.schedule_defs, key=lambda found: found.name):
        yield _finding(subject, f"schedule {schedule.name}", schedule, states.get(schedule.name))
    for sensor in sorted(subject.repository.sensor_defs, key=lambda found: found.name):
        yield _finding(subject, f"sensor {sensor.name}", sensor, states.get(sensor.name))


def _finding(
    subject: Subject, name: str, definition: "Instigator", state: "InstigatorState | None"
) -> Finding:
    on_by_default = definition.default_status.value == "RUNNING"
    on = on_by_default if state is None or state.status.value == "DECLARED_IN_CODE" else state.is_running
    if not on and on_by_default:
        return warn(name, "stopped by hand", "Turn it on under Automation in the UI.", status="stopped")
    if not on:
        return ok(name, "off, as it is unless somebody turns it on", status="off")
    tick = _last_tick(subject, state)
    if tick is None:
        return ok(name, "on; it has not ticked yet", status="on")
    return _told_of_tick(name, tick, getattr(definition, "cron_schedule", None), subject.clock())


def _told_of_tick(name: str, tick: "InstigatorTick", cron: object, now: datetime) -> Finding:
    """How the newest tick went, and whether another has been due since by `cron`, which sensors have not."""
    then = datetime.fromtimestamp(tick.timestamp, timezone.utc)
    age = (now - then).total_seconds()
    outcome = tick.status.value.lower()
    what = f"on; last tick {span(age)} ago {outcome}"
    numbers: dict[str, Number] = {"status": "on", "tick_status": outcome, "tick_age_seconds": round(age)}
    if tick.status.value == "FAILURE":
        why = first_line(tick.error.message if tick.error else "")
        return fail(name, f"{what}: {why}", "See the tick under Automation in the UI.", **numbers)
    if tick.skip_reason:
        what += f": {first_line(tick.skip_reason)}"
    if isinstance(cron, str) and then < oldest_fresh(cron, now):
        return warn(name, f"{what}, and none since", "See the daemons: they start the ticks.", **numbers)
    return ok(name, what, **numbers)


def _last_tick(subject: Subject, state: "InstigatorState | None") -> "InstigatorTick | None":
    if state is None or subject.instance is None:
        return None
    ticks = subject.instance.get_ticks(state.instigator_origin_id, state.selector_id, limit=1)
    return ticks[0] if ticks else None
