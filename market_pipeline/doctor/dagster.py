"""Dagster: whether its home is durable, daemons report and schedules are on, and how the last run of each job ended.

What is wrong with schedules and runs is decided in `pipeline.conditions`.
"""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from market_pipeline.core.program import command, is_demo
from market_pipeline.core.wording import first_line, span
from market_pipeline.dagster_instance.facts import automation_states, heartbeats, job_states, stored_sizes
from market_pipeline.dagster_instance.home import (
    HomeError,
    configures_storage,
    has_files,
    named_home,
    open_instance,
    storage_in,
    was_used,
)
from market_pipeline.dagster_instance.instance_storage import FILES, InstanceStorage, storage_of
from market_pipeline.dagster_instance.nonpublic import ASSET_JOB
from market_pipeline.dagster_instance.ownership import Owner, located, owner_of
from market_pipeline.doctor.context import Diagnosis, DoctorContext, Number, fail, ok, warn
from market_pipeline.pipeline.conditions import Condition, automation_condition, job_condition
from market_pipeline.pipeline.facts import AutomationState, JobState, StoredSize, growth_per_day
from market_pipeline.pipeline.names import CONSEQUENCES, automations
from market_pipeline.storage import disk
from market_pipeline.storage.db_errors import SchemaMismatch, StorageError

# `dagster dev` creates such a folder where DAGSTER_HOME is not set, and deletes it when it ends.
_THROWN_AWAY = ".tmp_dagster_home"
_FULL_SOON_DAYS = 30
# A disk that lasts longer is not worth a number.
_LONGEST_DAYS = 3_650


def home_used(context: DoctorContext) -> bool:
    """Return whether Dagster has run here before."""
    try:
        return was_used(named_home(context.folder, context.environment))
    except HomeError:
        return False


def examine_home(context: DoctorContext) -> Iterator[Diagnosis]:
    """Find Dagster's own storage. Sets `context.home` if it was used before."""
    try:
        home = named_home(context.folder, context.environment)
    except HomeError as error:
        yield fail("dagster home", error.problem, f"{error.remedy[0].upper()}{error.remedy[1:]}.")
        return
    if was_used(home):
        context.home = home
        yield _durability(home)
    else:
        detail = f"nothing was started in {home} yet"
        yield warn("dagster home", detail, f"Start with `{command('run')}`.", home=str(home))


def _durability(home: Path) -> Diagnosis:
    if configures_storage(home):
        return ok("dagster home", f"{home} configures the instance, whose storage is elsewhere", home=str(home))
    temporary = Path(tempfile.gettempdir()).resolve()
    if home.name.startswith(_THROWN_AWAY):
        remedy = f"Set DAGSTER_HOME to a permanent folder, or start with `{command('run')}`."
    elif temporary in home.resolve().parents:
        remedy = f"Move the project out of {temporary}, or set DAGSTER_HOME to a folder outside of it."
        remedy = f"Start the demo outside of {temporary} to keep it." if is_demo() else remedy
    else:
        return ok("dagster home", f"{home} is durable", home=str(home))
    detail = f"{home} is a temporary folder: history and schedules are lost with it"
    return warn("dagster home", detail, remedy, home=str(home))


def examine_code_location(context: DoctorContext) -> Iterator[Diagnosis]:
    """Build the definitions that the UI and the daemon load."""
    settings, _ = context.settings, context.home
    # Lazy: Dagster takes seconds to import, and a failure to import is a result of this examination.
    from market_pipeline.build import build_defs

    repository = build_defs(settings).get_repository_def()
    schedules, sensors = len(repository.schedule_defs), len(repository.sensor_defs)
    yield ok("code location", f"loads; schedules: {schedules}, sensors: {sensors}")


def examine_instance(context: DoctorContext) -> Iterator[Diagnosis]:
    """Open Dagster's storage as its processes do. Sets `context.instance`."""
    home, config = context.home, context.home / "dagster.yaml"
    from market_pipeline.dagster_instance.nonpublic import count_runs

    storage = storage_of(context.settings)
    actual = storage_in(home, storage)
    try:
        # Opening the instance would create them.
        if actual is not None and actual.url is not None and not actual.check():
            detail = f"Dagster's tables are not in {actual} yet"
            yield warn("dagster instance", detail, f"`{command('run')}` creates them.")
            return
        instance = open_instance(home, storage)
        runs = count_runs(instance)
    except SchemaMismatch as error:
        yield fail("dagster instance", error.problem, f"{error.remedy[:1].upper()}{error.remedy[1:]}.")
    except StorageError as error:
        yield fail("dagster instance", str(error), f"Start the database or correct {storage.setting}.")
    # The storage is pluggable and may raise anything.
    except Exception as error:
        detail = f"{home} cannot be opened: {type(error).__name__}: {first_line(str(error.__cause__ or error))}"
        remedy = f"Correct {config}, or move the folder away and start with `{command('run')}`."
        yield fail("dagster instance", detail, remedy)
    else:
        context.instance = instance
        yield _opened(context, actual, runs)


def _opened(context: DoctorContext, actual: InstanceStorage | None, runs: int) -> Diagnosis:
    """Judge the open instance, whose storage is `actual`, or one of the user's own."""
    from market_pipeline.dagster_instance.lanes import has_lanes

    home, config, wanted = context.home, context.home / "dagster.yaml", storage_of(context.settings)
    where = f"the storage that {config} names" if actual is None else str(actual)
    moved = actual is not None and actual.url is not None and has_files(home)
    detail = f"opened in {where}; runs: {runs}" + (f"; former ones are in SQLite files in {home}" if moved else "")
    if wanted.url is not None and actual == FILES:
        remedy = (
            f"Start with `{command('run')}`, which moves it to {wanted}; if {config} is your own, remove it before, "
            "or add that storage to it."
        )
        return warn("dagster instance", f"{detail}, although {wanted.setting} names PostgreSQL", remedy, runs=runs)
    if not has_lanes(context.instance):
        remedy = f"Copy run_coordinator and concurrency from the project's dagster.yaml to {config}."
        return warn("dagster instance", f"{detail}; ticks wait behind queued history", remedy, runs=runs)
    return ok("dagster instance", detail, runs=runs)


def examine_daemons(context: DoctorContext) -> Iterator[Diagnosis]:
    """Judge all daemons together by the oldest heartbeat."""
    now = context.clock()
    beats = heartbeats(context.instance, now)
    ages = {beat.daemon: max(0.0, (now - beat.at).total_seconds()) for beat in beats if beat.at}
    if not ages:
        yield warn("daemons", "no daemon has ever reported here", _start())
        return
    numbers = {f"heartbeat_age_{name.lower()}": round(age) for name, age in ages.items()}
    errors: dict[str, list[str]] = {}
    for beat in beats:
        if beat.error:
            errors.setdefault(first_line(beat.error), []).append(beat.daemon)
    silent = [beat.daemon for beat in beats if not beat.alive]
    if errors:
        remedy = "Read the daemon's output for the rest."
        each = [f"{', '.join(names)}: {error}" for error, names in errors.items()]
        yield fail("daemons", f"errors of the last minutes, reported by {'; '.join(each)}", remedy, **numbers)
    elif silent:
        last = [f"{name} {span(ages[name])} ago" if name in ages else f"{name} never" for name in silent]
        yield fail("daemons", f"nothing is scheduled; last reports: {', '.join(last)}", _start(), **numbers)
    else:
        oldest = span(max(ages.values()))
        yield ok("daemons", f"{len(ages)} daemons report, the oldest heartbeat was {oldest} ago", **numbers)


def examine_automation(context: DoctorContext) -> Iterator[Diagnosis]:
    """Judge each schedule and sensor."""
    for state in automation_states(context.instance, _owner(context), automations(context.settings.collect_cron)):
        yield _of_automation(context, state)


def _of_automation(context: DoctorContext, state: AutomationState) -> Diagnosis:
    now, title = context.clock(), state.automation.title
    numbers: dict[str, Number] = {"status": "on" if state.on else "stopped"}
    if state.evaluated_at is not None:
        age = (now - state.evaluated_at).total_seconds()
        numbers |= {"tick_status": state.outcome, "tick_age_seconds": round(age)}
    condition = automation_condition(state, now)
    if condition is not None:
        return _of_condition(title, condition, numbers, grave=condition.kind == "evaluation-failed")
    if state.evaluated_at is None:
        return ok(title, "on; it has not ticked yet", **numbers)
    reason = f": {state.reason}" if state.reason else ""
    return ok(title, f"on; last tick {span(now - state.evaluated_at)} ago: {state.outcome}{reason}", **numbers)


def examine_runs(context: DoctorContext) -> Iterator[Diagnosis]:
    """Judge each job by its last run, and what was started by hand in the UI if that failed."""
    for state in job_states(context.instance, _owner(context), [*CONSEQUENCES, ASSET_JOB]):
        diagnosis = _of_job(context, state)
        if state.job != ASSET_JOB or diagnosis.status != "ok":
            yield diagnosis


def _of_job(context: DoctorContext, state: JobState) -> Diagnosis:
    now, title = context.clock(), f"job {state.job}"
    numbers: dict[str, Number] = {}
    if state.succeeded_at is not None:
        numbers["last_success_age_seconds"] = round((now - state.succeeded_at).total_seconds())
    condition = job_condition(state, now)
    if condition is not None and state.failed is not None:
        numbers["run_id"] = state.failed.run_id
        return _of_condition(title, condition, numbers, grave=state.job != ASSET_JOB)
    if state.succeeded_at is None:
        return ok(title, "no run has succeeded yet", **numbers)
    return ok(title, f"last success {span(now - state.succeeded_at)} ago", **numbers)


def _of_condition(title: str, condition: Condition, numbers: dict[str, Number], *, grave: bool) -> Diagnosis:
    detail = f"{condition.detail} {condition.quoted}".strip()
    return (fail if grave else warn)(title, detail, condition.remedy, **numbers)


def examine_storage(context: DoctorContext) -> Iterator[Diagnosis]:
    """Measure both stores, how they grow, and how long the disk of Dagster's home lasts where they are on it."""
    from market_pipeline.dagster_instance.run_storage import is_on_this_disk, stored_bytes

    instance, database = context.instance, context.database_if_ready
    size = StoredSize(context.clock(), stored_bytes(instance), disk.stored_bytes(database) if database else 0)
    numbers: dict[str, Number] = {"dagster_bytes": size.dagster, "prices_bytes": size.prices}
    growth = growth_per_day([size, *stored_sizes(instance)])
    if growth is None:
        detail = f"Dagster takes {_megabytes(size.dagster)}, the prices {_megabytes(size.prices)}; growth not known yet"
        yield ok("storage", detail, **numbers)
        return
    local = is_on_this_disk(instance), database is not None and database.dialect == "sqlite"
    lasting = sum(max(0.0, one) for one, here in zip(growth, local, strict=True) if here)
    detail = ", ".join(
        f"{what} {_megabytes(taken)} ({_megabytes(one, '+')} a day)"
        for what, taken, one in zip(("Dagster takes", "the prices"), (size.dagster, size.prices), growth, strict=True)
    )
    numbers |= {"dagster_bytes_a_day": round(growth[0]), "prices_bytes_a_day": round(growth[1])}
    free = shutil.disk_usage(context.home).free
    numbers["days_until_full"] = days = round(free / lasting) if lasting * _LONGEST_DAYS > free else None
    if days is None:
        yield ok("storage", detail, **numbers)
    elif days > _FULL_SOON_DAYS:
        yield ok("storage", f"{detail}; the disk lasts for {days:,} days", **numbers)
    else:
        remedy = "Lower RUNS_KEEP_DAYS, free some space, or move to PostgreSQL; in the first week this is normal."
        yield warn("storage", f"{detail}; the disk is full in {days} days", remedy, **numbers)


def _start() -> str:
    return f"Start `{command('run')}`, or Dagster's daemon where that is a service of its own, and leave it running."


def _megabytes(number: float, sign: str = "") -> str:
    return f"{number / 1e6:{sign},.{0 if abs(number) >= 10e6 else 1}f} MB"


def _owner(context: DoctorContext) -> Owner:
    return located(context.instance, owner_of(context.settings))
