"""Run the ninety days on SQLite and on PostgreSQL, print the figures, draw the plot."""

import argparse
import os
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

import dagster as dg
import time_machine
from sqlalchemy import func, select

from benchmarks.figures import Figure
from benchmarks.retention.templates import EVENTS, Template, Writer, recorded
from benchmarks.ticks import fill
from benchmarks.world import World, a_world, postgresql, use
from market_pipeline.build import build_defs
from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.dagster_instance import run_storage
from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.nonpublic import data_versions, materialized_partitions
from market_pipeline.dagster_instance.retention import purge_runs
from market_pipeline.defs.partitions import range_tags
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault

_LOCATION = {"dagster/code_location": "market_pipeline"}
_ASSETS = ("raw_prices", "rejected_prices", "price_anomalies")
_FAILED_AT_ONCE = 12
# Days without a purge, after which one purge finds everything.
_BACKLOG = 20
_WEEK = 7
_TICK = timedelta(minutes=5)


@dataclass
class Course:
    """How Dagster's storage developed: bytes at the end of each day, and what the purges did."""

    name: str
    sizes: list[int] = field(default_factory=list)
    runs: list[int] = field(default_factory=list)
    kept: dict[str, int] = field(default_factory=dict)
    changed: int = 0
    seconds: list[float] = field(default_factory=list)

    @property
    def unpurged(self) -> float:
        """The growth a day without a purge: that of the first week, in which nothing is old enough."""
        week = min(_WEEK, len(self.sizes)) - 1
        return (self.sizes[week] - self.sizes[0]) / week


class Ninety:
    """Simulated days on one instance."""

    def __init__(self, world: World, instance: dg.DagsterInstance, name: str, days: int) -> None:
        self.world, self.instance, self.days = world, instance, days
        self.folder = world.folder / "home" / "history" / "runs"
        database = world.sqlite("prices.db")
        fill(database, 20_000)
        use(world.environment(database))
        self.settings = load_settings(None)
        self.defs = build_defs(self.settings, resources={"database": database})
        self.symbols = self.settings.catalogue.symbols
        self.writer = Writer(instance, self.folder)
        self.course = Course(name)

    def execute(self, job: str, day: date | None) -> Template:
        """Execute a real run and record it."""
        tags = range_tags(day, day, self.symbols) if day else {}
        result = self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, tags={**tags, **_LOCATION}, raise_on_error=False
        )
        return recorded(self.instance, result.run_id, day or utc_now().date(), self.folder)

    def record(self) -> dict[str, list[Template]]:
        """Execute real runs of every kind."""
        today = utc_now().date()
        yesterday = today - DAY
        found = {"complete_days": [self.execute("complete_days", yesterday)]}
        found["calibrate_detectors"] = [self.execute("calibrate_detectors", None)]
        found["score_days"] = [self.execute("score_days", yesterday)]
        found["account_requests"] = [self.execute("account_requests", None)]
        found["tick"] = [self.execute("tick", today) for _ in range(12)]
        self.world.simulator.add_fault(Fault(kind="status", status=401, times=None))
        found["failed"] = [self.execute("tick", today)]
        self.world.simulator.clear_faults()
        # Drawn once an hour.
        with time_machine.travel(utc_now() + timedelta(minutes=70)):
            found["picture"] = [self.execute("tick", today)]
        return found

    def day_of_runs(self, day: date, templates: dict[str, list[Template]]) -> None:
        """Add the runs of a day, in their order; every tenth day an hour of ticks fails."""
        midnight, ticks = start_of_day(day), templates["tick"]
        for number in range(288):
            at = midnight + number * _TICK
            if number % 12 == 0:
                self.writer.add(templates["account_requests"][0], at + timedelta(minutes=2), day)
            if number == 9:
                self.writer.add(templates["complete_days"][0], at, day - DAY)
            if number == 51:
                self.writer.add(templates["score_days"][0], at, day - DAY)
                self.writer.add(templates["calibrate_detectors"][0], at, day)
            failed = day.toordinal() % 10 == 0 and 100 <= number < 100 + _FAILED_AT_ONCE
            kind = templates["failed"][0] if failed else ticks[number % len(ticks)]
            self.writer.add(templates["picture"][0] if number % 12 == 0 and not failed else kind, at, day)
        self.writer.flush()

    def run(self) -> Course:
        """Let the days pass, each with its nightly retention: a real run of the job at the simulated time."""
        templates, course = self.record(), self.course
        first = utc_now().date() - self.days * DAY
        for number in range(self.days):
            day = first + number * DAY
            self.day_of_runs(day, templates)
            before = self.newest()
            with time_machine.travel(start_of_day(day + DAY) + timedelta(hours=3, minutes=35)):
                begun = time.perf_counter()
                result = self.defs.resolve_job_def("retention").execute_in_process(
                    instance=self.instance, tags=_LOCATION
                )
                course.seconds.append(time.perf_counter() - begun)
            metadata = result.asset_materializations_for_node("storage_retention")[0].metadata
            course.kept = {
                name.removeprefix("runs_kept_"): int(str(value.value))
                for name, value in metadata.items() if name.startswith("runs_kept_")
            }
            after = self.newest()
            course.changed += sum(after.get(key) != number for key, number in before.items())
            size = self.size()
            course.sizes.append(size)
            course.runs.append(self.instance.get_runs_count())
            if number % 10 == 9:
                sys.stdout.write(f"  {course.name} day {number + 1}: {size / 1e6:,.0f} MB, {course.runs[-1]:,} runs\n")
                sys.stdout.flush()
        return course

    def size(self) -> int:
        return run_storage.stored_bytes(self.instance)

    def newest(self) -> dict[tuple[str, str], int]:
        """The number of the newest materialization of each partition: its order, status and version rest on it."""
        statement = (
            select(EVENTS.c.asset_key, EVENTS.c.partition, func.max(EVENTS.c.id))
            .where(EVENTS.c.dagster_event_type == "ASSET_MATERIALIZATION")
            .group_by(EVENTS.c.asset_key, EVENTS.c.partition)
        )
        with self.instance.event_log_storage.index_connection() as connection:  # type: ignore[attr-defined]  # SQL
            found = connection.execute(statement).all()
        return {(asset, partition or ""): number for asset, partition, number in found if "retention" not in asset}

    def missing(self) -> int:
        """Partitions that were ever green and are not according to Dagster's own queries, or without a version."""
        lost = 0
        for asset in _ASSETS:
            ever = {part for key, part in self.writer.partitions if key == f'["{asset}"]'}
            lost += len(ever - materialized_partitions(self.instance, asset))
            lost += len(ever - data_versions(self.instance, asset, ever).keys())
        return lost

    def backlog(self) -> Iterator[Figure]:
        """Purge many days at once while another writer stores events."""
        templates = {"tick": [self.execute("tick", utc_now().date())]}
        start = utc_now() - _BACKLOG * DAY
        for number in range(_BACKLOG * 288):
            at = start + number * _TICK
            self.writer.add(templates["tick"][0], at, at.date())
            if number % 288 == 287:
                self.writer.flush()
        with _writing(self.world.folder / "home") as waits:
            begun = time.perf_counter()
            purge = purge_runs(
                self.instance, "market_pipeline", utc_now() + 40 * DAY, keep=7 * DAY, within=timedelta(hours=1)
            )
            seconds = time.perf_counter() - begun
        each = 1000 * seconds / purge.deleted
        note = f"{purge.deleted:,} runs in {seconds:,.0f} s"
        yield Figure(f"{self.course.name}: purge of a run", each, "ms", note=note)
        year = each / 1000 * 365 * 288 / 60
        yield Figure(f"{self.course.name}: a year's purge by that", year, "min")
        note = f"{len(waits)} writes of another process, median {1000 * sorted(waits)[len(waits) // 2]:.0f} ms"
        yield Figure(f"{self.course.name}: longest wait of a writer meanwhile", max(waits), "s", 5, note=note)


@contextmanager
def _writing(home: Path) -> Iterator[list[float]]:
    """Store an event of a run every fifth of a second on a connection of its own; yield how long each took."""
    waits: list[float] = []
    end = threading.Event()

    def write() -> None:
        with dg.DagsterInstance.from_config(str(home)) as instance:
            run = instance.add_run(dg.DagsterRun("writer", status=dg.DagsterRunStatus.STARTED))
            while not end.wait(0.2):
                begun = time.perf_counter()
                event = dg.AssetMaterialization("written", metadata={"number": len(waits)})
                instance.report_runless_asset_event(event)
                instance.add_run_tags(run.run_id, {"number": str(len(waits))})
                waits.append(time.perf_counter() - begun)

    thread = threading.Thread(target=write)
    thread.start()
    while not waits:
        time.sleep(0.1)
    yield waits
    end.set()
    thread.join()


def figures(course: Course, lost: int) -> Iterator[Figure]:
    """What a course shows."""
    settled = course.sizes[min(40, len(course.sizes) - 2)]
    growth = (course.sizes[-1] - settled) / 1e6
    name, days = course.name, len(course.sizes) - min(40, len(course.sizes) - 2) - 1
    note = f"{course.runs[-1]:,} runs"
    yield Figure(f"{name}: Dagster's storage on the last day", course.sizes[-1] / 1e6, "MB", note=note)
    yield Figure(f"{name}: the same without retention", course.unpurged * len(course.sizes) / 1e6, "MB")
    yield Figure(f"{name}: growth a day, last {days} days", growth / days, "MB")
    yield Figure(f"{name}: the same without retention", course.unpurged / 1e6, "MB")
    yield Figure(f"{name}: newest materializations that a purge changed", course.changed, "", 0)
    yield Figure(f"{name}: green partitions or versions that are missing", lost, "", 0)
    nights = sorted(course.seconds)
    yield Figure(f"{name}: a night's retention", nights[len(nights) // 2], "s", note=f"longest {nights[-1]:.1f} s")
    kept = ", ".join(f"{name} {number:,}" for name, number in Counter(course.kept).most_common())
    yield Figure(f"{name}: runs that are kept", sum(course.kept.values()), "", note=kept)


def draw(courses: list[Course], file: Path) -> None:
    """Draw the sizes over the days, beside what they would be without retention."""
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(9, 3.6), layout="constrained")
    for axes, course in zip(picture.subplots(1, len(courses), squeeze=False)[0], courses, strict=True):
        days = range(1, len(course.sizes) + 1)
        without = [course.unpurged * day / 1e9 for day in days]
        axes.plot(days, without, "--", color="#b0b0b0", label="without, by the first week")
        axes.plot(days, [one / 1e9 for one in course.sizes], color="#1f5fa8", linewidth=2, label="with retention")
        axes.set_title(f"Dagster's storage on {course.name}", fontsize=10)
        axes.set_xlabel("day")
        axes.set_ylabel("GB")
        axes.set_ylim(0)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    picture.savefig(file, dpi=110)


def one(name: str, days: int, world: World, instance: dg.DagsterInstance, *, backlog: bool) -> Course:
    ninety = Ninety(world, instance, name, days)
    course = ninety.run()
    for figure in figures(course, ninety.missing()):
        sys.stdout.write(f"{figure}\n")
    for figure in ninety.backlog() if backlog else ():
        sys.stdout.write(f"{figure}\n")
    sys.stdout.flush()
    return course


def on_sqlite(days: int, *, backlog: bool) -> Course:
    with a_world() as world, _instance(world) as instance:
        return one("SQLite", days, world, instance, backlog=backlog)


def on_postgresql(days: int, *, backlog: bool) -> Course:
    with a_world() as world, postgresql() as url:
        config = world.folder / "home" / "dagster.yaml"
        config.write_text(f"{config.read_text()}storage: {{postgres: {{postgres_url: {{env: RETENTION_URL}}}}}}\n")
        os.environ["RETENTION_URL"] = url.render_as_string(hide_password=False)
        with _instance(world) as instance:
            return one("PostgreSQL", days, world, instance, backlog=backlog)


@contextmanager
def _instance(world: World) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(world.folder / "home")) as instance:
        keep_event_log_connections()
        yield instance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=90)
    parser.add_argument("--only", choices=["sqlite", "postgresql"])
    parser.add_argument("--no-backlog", action="store_true")
    parser.add_argument("--out", type=Path, default=Path("docs/images/retention.png"))
    given = parser.parse_args()
    warnings.simplefilter("ignore")
    stores: dict[str, Callable[..., Course]] = {"sqlite": on_sqlite, "postgresql": on_postgresql}
    courses = [
        run(given.days, backlog=not given.no_backlog) for name, run in stores.items() if given.only in (None, name)
    ]
    draw(courses, given.out)


if __name__ == "__main__":
    main()
