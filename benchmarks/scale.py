"""What grows with symbols and days: `python -m benchmarks.scale [5x365 250x365 1000x90] [--write docs/scale.md]`.

Each size is measured in a process of its own, on a SQLite file with hourly prices of all days and five-minute prices of
the last ten, and on an instance in which every past partition is materialized. Not part of `python -m benchmarks`: the
largest size takes minutes.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from benchmarks.scale_world import ScaleWorld, Size, a_scale_world
from market_pipeline.build import build_defs
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.slices import Slice
from market_pipeline.dagster_instance.event_batches import store_events_in_batches
from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.defs.assets.request_ledger import REQUEST_LEDGER
from market_pipeline.defs.automation.partition_events import PartitionEvents
from market_pipeline.defs.automation.stale_scores import outdated_days
from market_pipeline.defs.logging.run_console import write_events_as_lines
from market_pipeline.logs import configure_logging
from market_pipeline.pipeline.calibrate import calibrate_due, due_calibrations
from market_pipeline.pipeline.missing_days import DAYS_SCORED, days_to_repair, past_days
from market_pipeline.pipeline.names import REPAIR_SENSOR, STORAGE_RETENTION, TICK

SIZES = ("5x365", "50x365", "250x365", "1000x90")
_BEGIN, _END = "<!-- measured -->\n", "<!-- end of measured -->\n"


def main(arguments: Sequence[str]) -> None:
    """Measure the sizes and print one table; with --write replace the one in a file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.scale", description=__doc__)
    parser.add_argument("sizes", nargs="*", default=SIZES, metavar="SYMBOLSxDAYS")
    parser.add_argument("--write", type=Path, metavar="FILE", help="replace the table of this Markdown file")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="keep the installation of a single size")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if options.one or options.keep:
        sys.stdout.write(json.dumps(measured(Size.parse(options.sizes[0]), options.keep)) + "\n")
        return
    columns: dict[str, dict[str, float]] = {}
    for size in options.sizes:
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.scale", size, "--one"]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
        columns[size] = json.loads(done.stdout.splitlines()[-1])
    sys.stdout.write(table(columns))
    if options.write:
        before, _, rest = options.write.read_text().partition(_BEGIN)
        options.write.write_text(before + _BEGIN + table(columns) + _END + rest.partition(_END)[2])


def table(columns: dict[str, dict[str, float]]) -> str:
    """Return the figures as a Markdown table with a column for each size."""
    names = dict.fromkeys(name for figures in columns.values() for name in figures)
    head = f"| symbols x days | {' | '.join(columns)} |\n|---|{'---:|' * len(columns)}\n"
    return head + "".join(
        f"| {name} | {' | '.join(_shown(figures.get(name)) for figures in columns.values())} |\n" for name in names
    )


def _shown(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def measured(size: Size, keep: Path | None = None) -> dict[str, float]:
    """Return the figures of one size by name."""
    with a_scale_world(size, keep) as world:
        found: dict[str, float] = {"partitions an asset": size.symbols * size.days, "prices stored": world.rows}
        for name, figure in figures(world):
            found[name] = figure
            sys.stderr.write(f"  {name:<60} {figure:>12,.2f}\n")
        found["peak memory of the measuring process, MB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        return found


def figures(world: ScaleWorld) -> Iterator[tuple[str, float]]:
    """Yield name and value of each figure: seconds of processor time if the name has no unit."""
    configure_logging(world.settings)
    write_events_as_lines()
    settings, database, now = world.settings, world.database, utc_now()
    symbols = settings.catalogue.symbols
    yield "definitions loaded", _cpu(lambda: build_defs(settings).get_repository_def().load_all_definitions())
    defs = build_defs(settings)
    partitions = defs.resolve_assets_def("raw_prices").partitions_def
    if partitions is not None:
        yield "partition keys listed", _cpu(lambda: partitions.get_partition_keys(now))
    yield "repair: days that lack prices", _cpu(lambda: days_to_repair(database, settings, now))
    first = settings.first_day(now)
    yield "coverage of 90 days", _cpu(lambda: past_days(database, settings.catalogue, first, now))
    world.calibrate_past(now)
    yield "calibrations due", _cpu(lambda: due_calibrations(database, symbols, now, missing=False))
    yield "the first calibration", _cpu(lambda: calibrate_due(database, symbols, now))
    with dg.DagsterInstance.get() as instance:
        keep_event_log_connections()
        store_events_in_batches()
        world.materialize_past(instance)
        scored = Slice("", max(first, now.date() - DAYS_SCORED * DAY), now.date() - DAY).days
        days = [(day, symbol) for symbol in symbols for day in scored]
        yield (
            "stale scores of 90 days",
            _cpu(lambda: outdated_days(PartitionEvents(instance), database, days, symbols, now)),
        )
        yield from _evaluations(instance, defs)
        yield from _ticks(world, instance, defs.resolve_job_def(TICK))


def _evaluations(instance: dg.DagsterInstance, defs: dg.Definitions) -> Iterator[tuple[str, float]]:
    """Yield what an evaluation of the repair sensor costs when all is done, and the next one, by its cursor."""
    for asset in (REQUEST_LEDGER, STORAGE_RETENTION):
        instance.report_runless_asset_event(dg.AssetMaterialization(asset))
    sensor, cursors = defs.resolve_sensor_def(REPAIR_SENSOR), [""]

    def evaluate() -> None:
        with dg.build_sensor_context(instance=instance, cursor=cursors[-1] or None) as context:
            evaluation = sensor.evaluate_tick(context)
        sys.stderr.write(f"{evaluation.skip_message or evaluation.run_requests}\n")
        cursors.append(evaluation.cursor or "")

    for name in ("a first evaluation of the repair sensor", "a full evaluation", "a quiet evaluation"):
        if name == "a full evaluation":
            cursors.append("")
        yield name, _cpu(evaluate)


def _ticks(world: ScaleWorld, instance: dg.DagsterInstance, job: dg.JobDefinition) -> Iterator[tuple[str, float]]:
    def tick() -> Any:
        return job.execute_in_process(instance=instance, tags=world.today())

    yield "the first tick of a day", _cpu(tick)
    yield "a tick", _cpu(tick)
    run = instance.get_run_records(limit=1)[0].dagster_run
    yield "events of a tick", len(instance.all_logs(run.run_id))
    file = Path(instance.root_directory, "history", "runs", f"{run.run_id}.db")
    yield "Dagster's file of a tick, MB", file.stat().st_size / 1e6


def _cpu(work: Callable[[], object]) -> float:
    """Return the processor seconds of this process, the simulator's answers included."""
    started = time.process_time()
    work()
    return time.process_time() - started


if __name__ == "__main__":
    main(sys.argv[1:])
