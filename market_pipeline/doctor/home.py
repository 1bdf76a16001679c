"""Does Dagster keep its history, and can it be opened?"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from market_pipeline.core.wording import first_line
from market_pipeline.dagster_instance.home import HomeError, configures_storage, named_home
from market_pipeline.doctor.context import Finding, Subject, fail, not_examined, ok, warn

# `dagster dev` makes such a folder where DAGSTER_HOME is not set, and deletes it at its end.
_THROWN_AWAY = ".tmp_dagster_home"


def home_used(subject: Subject) -> bool:
    """Whether Dagster has run here before."""
    try:
        return _was_used(named_home(subject.folder, subject.environment))
    except HomeError:
        return False


def examine_home(subject: Subject) -> Iterator[Finding]:
    """Where Dagster's own storage is; one that was used already is kept in `subject`."""
    try:
        home = named_home(subject.folder, subject.environment)
    except HomeError as bad:
        yield fail("dagster home", bad.problem, f"{bad.remedy[0].upper()}{bad.remedy[1:]}.")
        return
    if not _was_used(home):
        detail = f"nothing was started in {home} yet"
        yield warn("dagster home", detail, "Start with `market-pipeline run`.", home=str(home))
    else:
        subject.home = home
        yield _durability(home)


def examine_instance(subject: Subject) -> Iterator[Finding]:
    """Open Dagster's storage as its processes do; the instance is kept in `subject`."""
    if subject.home is None:
        yield not_examined("dagster instance", "dagster home")
        return
    import dagster as dg

    try:
        subject.instance = dg.DagsterInstance.from_config(str(subject.home))
        runs = subject.instance.get_runs_count()
    # Its storage is pluggable: what a broken one raises is nobody's promise.
    except Exception as error:
        subject.instance = None
        why = f"{type(error).__name__}: {first_line(str(error.__cause__ or error))}"
        yield fail(
            "dagster instance", f"{subject.home} cannot be opened: {why}",
            f"Correct {subject.home / 'dagster.yaml'}, or move the folder away and start with `market-pipeline run`.",
        )
        return
    from market_pipeline.dagster_instance.lanes import LanedRunCoordinator

    if not isinstance(subject.instance.run_coordinator, LanedRunCoordinator):
        yield warn(
            "dagster instance", f"opened, {runs} runs; history that is queued keeps ticks waiting",
            f"Copy run_coordinator and concurrency from the project's dagster.yaml to {subject.home / 'dagster.yaml'}.",
            runs=runs,
        )
        return
    yield ok("dagster instance", f"opened, {runs} runs", runs=runs)


def _was_used(home: Path) -> bool:
    """Whether Dagster has its storage there, or in a database that the folder's dagster.yaml names."""
    return (home / "history").exists() or configures_storage(home)


def _durability(home: Path) -> Finding:
    temporary = Path(tempfile.gettempdir()).resolve()
    thrown_away = home.name.startswith(_THROWN_AWAY)
    if thrown_away or temporary in home.resolve().parents:
        return warn(
            "dagster home", f"{home} is a temporary folder: history and schedules are lost with it",
            "Set DAGSTER_HOME to a folder that stays, or start with `market-pipeline run`." if thrown_away
            else f"Move the project out of {temporary}, or set DAGSTER_HOME to a folder outside of it.",
            home=str(home),
        )
    return ok("dagster home", f"{home} is durable", home=str(home))
