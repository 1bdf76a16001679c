"""Workers on several machines, killed, cut off or stopped in the middle of a run: nothing is lost or doubled.

Each machine is a network namespace with its own address; docs/celery.md has the set-up.
"""

import os
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

import dagster as dg
from sqlalchemy import select

from benchmarks.figures import Figure
from faults.celery_setup import CANARY, REQUESTS_PER_MINUTE, SYMBOLS, Pipeline, Worker, pipeline
from faults.machines import wait_until, why_not
from faults.options import Options
from market_pipeline.core.clock import start_of_day, utc_now
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.pipeline.names import COMPLETE_DAYS, TICK
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.storage.schema.tables import raw_prices

_DAYS = 2  # that a run completes
_CUT_OFF_SECONDS = 45.0
_PATIENCE = 600.0
_HOUR = timedelta(hours=1)
_MINUTE = 60.0

Range = tuple[date, date]


def figures(options: Options) -> Iterator[Figure]:
    """Kill, cut off and stop parts of a pipeline of three machines; then compare what is stored, time and count."""
    if reason := why_not():
        yield Figure("skipped", 0, "", note=reason)
        return
    kills = options.count(10, 2)
    first = utc_now().date() - timedelta(days=(kills + 4) * _DAYS)
    ranges = [_range(first, number) for number in range(kills + 4)]
    with tempfile.TemporaryDirectory(prefix="faults-") as name:
        folder = Path(name)
        # PostgreSQL runs as another user.
        folder.chmod(0o755)
        (folder / "machines").mkdir()
        with pipeline(folder, first) as made:
            yield from _kill_workers(made, options.random("celery"), ranges[:kills])
            yield from _kill_child(made, ranges[kills])
            yield from _cut_off(made, ranges[kills + 1])
            yield from _restart_broker(made, ranges[kills + 2])
            yield from _stop_gently(made, ranges[kills + 3])
            yield from _compare(made, ranges)
            yield from _warm_and_cold(made, options.count(7, 3))
            yield from _requests(made, ranges[:6])
            yield from _secrets(made, folder)


def _range(first: date, number: int) -> Range:
    start = first + timedelta(days=number * _DAYS)
    return start, start + timedelta(days=_DAYS - 1)


def _begin(made: Pipeline, days: Range) -> tuple[str, Worker]:
    """Start a run over `days`; return its id and the worker that executes it, once it does."""
    run_id = made.submit(COMPLETE_DAYS, *days)

    def has_begun() -> bool:
        return made.run(run_id).status is dg.DagsterRunStatus.STARTED and made.worker_of(run_id) is not None

    wait_until(has_begun, _PATIENCE, "the start of a run", 0.02)
    worker = made.worker_of(run_id)
    if worker is None:
        raise LookupError(run_id)
    return run_id, worker


def _end(made: Pipeline, run_id: str) -> list[dg.DagsterRun]:
    """Wait until a run and its retries have ended; return them, oldest first."""
    wait_until(lambda: made.ended(run_id), _PATIENCE, f"the end of run {run_id[:8]}")
    return made.chain(run_id)


def _is_complete(runs: list[dg.DagsterRun]) -> bool:
    return runs[-1].status is dg.DagsterRunStatus.SUCCESS


def _kill_workers(made: Pipeline, rng: Random, ranges: list[Range]) -> Iterator[Figure]:
    """Kill whole workers with -9, each at a random moment of a run, and start them again as a supervisor does."""
    noticed, complete, orphans, ends = [], [], 0, []
    for days in ranges:
        run_id, worker = _begin(made, days)
        time.sleep(rng.uniform(0, 1.5))
        children = worker.process.children()
        if made.run(run_id).is_finished:
            continue
        worker.process.kill()
        killed_at = time.time()
        worker.start()
        orphans += sum(_lives(pid) for pid in children)
        runs = _end(made, run_id)
        ends.append(_is_complete(runs))
        noticed.append(made.times(runs[0].run_id)[1] - killed_at)
        complete.append(made.times(runs[-1].run_id)[1] - killed_at)
    yield Figure("workers killed with -9 in the middle of a run", len(ends), "runs", 1, at_least=True)
    yield Figure("of these runs, not retried and complete", ends.count(False), "runs", 0)
    yield Figure("processes that outlived their worker", orphans, "", 0)
    yield Figure("killed worker noticed after, median", statistics.median(noticed), "s", 30, note=_worst(noticed))
    yield Figure("run complete after the kill, median", statistics.median(complete), "s", 60, note=_worst(complete))


def _worst(seconds: list[float]) -> str:
    return f"worst {max(seconds):.1f} s"


def _lives(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def _kill_child(made: Pipeline, days: Range) -> Iterator[Figure]:
    """Kill only the process that executes a run; its worker lives on and tells Celery."""
    run_id, _ = _begin(made, days)
    task: Any = made.run(run_id).tags["dagster-celery/task_id"]
    launcher: Any = made.instance.run_launcher
    with suppress(ProcessLookupError):
        os.kill(launcher.celery.AsyncResult(task).info["pid"], signal.SIGKILL)
    killed_at = time.time()
    runs = _end(made, run_id)
    note = f"{len(runs) - 1} retry; {made.times(runs[-1].run_id)[1] - killed_at:.1f} s after the kill"
    yield Figure("process of a run killed with -9: not complete", not _is_complete(runs), "runs", 0, note=note)


def _cut_off(made: Pipeline, days: Range) -> Iterator[Figure]:
    """Take a worker off the network in the middle of a run, for so long that the run is retried elsewhere."""
    run_id, worker = _begin(made, days)
    worker.machine.unplug()
    started = time.monotonic()
    runs = _end(made, run_id)
    time.sleep(max(0.0, _CUT_OFF_SECONDS - (time.monotonic() - started)))
    worker.machine.unplug(plugged=True)
    launcher: Any = made.instance.run_launcher
    back = wait_until(
        lambda: launcher.celery.control.ping([worker.names[-1]], timeout=1), _PATIENCE, "the return of a worker"
    )
    note = f"{len(runs) - 1} retry; the worker is back {back:.0f} s after the network"
    yield Figure("worker cut off: its run not complete", not _is_complete(runs), "runs", 0, note=note)


def _restart_broker(made: Pipeline, days: Range) -> Iterator[Figure]:
    """Kill Redis in the middle of a run and start it without its data."""
    run_id, _ = _begin(made, days)
    made.processes["redis"].kill()
    time.sleep(3)
    made.start_redis()
    runs = _end(made, run_id)
    again = made.submit(COMPLETE_DAYS, *days)
    seconds = wait_until(lambda: made.ended(again), _PATIENCE, "a run after the broker's restart")
    note = f"{len(runs) - 1} retries; the next run ended after {seconds:.0f} s"
    complete = _is_complete(runs) and _is_complete(made.chain(again))
    yield Figure("broker restarted empty: runs not complete", not complete, "runs", 0, note=note)


def _stop_gently(made: Pipeline, days: Range) -> Iterator[Figure]:
    """Stop a worker with SIGTERM in the middle of a run."""
    run_id, worker = _begin(made, days)
    children = worker.process.children()
    seconds = worker.process.end(60)
    runs = _end(made, run_id)
    orphans = sum(_lives(pid) for pid in children)
    worker.start()
    note = f"stopped after {seconds:.1f} s, {orphans} processes left"
    yield Figure("worker stopped with SIGTERM: retries of its run", len(runs) - 1, "runs", 0, note=note)


def _compare(made: Pipeline, ranges: list[Range]) -> Iterator[Figure]:
    """Compare the stored prices with those of the source, and look at every partition."""
    start, end = start_of_day(ranges[0][0]), start_of_day(ranges[-1][1] + timedelta(days=1))
    market = MarketModel(KNOWN_COINS.values())
    expected = {
        (symbol, moment, price)
        for symbol, coin in KNOWN_COINS.items()
        for moment, price in market.points(coin, start, end - timedelta(microseconds=1), _HOUR)
    }
    table = raw_prices.c
    inside = (table.timestamp >= start) & (table.timestamp < end)
    with made.database.reading() as connection:
        stored = connection.execute(select(table.symbol, table.timestamp, table.price).where(inside)).all()
    rows = {(symbol, moment, float(price)) for symbol, moment, price in stored}
    yield Figure("rows that the source has", len(expected), "rows")
    yield Figure("of these, lost", len(expected - rows), "rows", 0)
    yield Figure("rows doubled or of no source", len(stored) - len(expected & rows), "rows", 0)
    days = (ranges[-1][1] - ranges[0][0]).days + 1
    for asset in ("raw_prices", "price_anomalies"):
        green = len(made.instance.get_materialized_partitions(dg.AssetKey(asset)))
        yield Figure(f"partitions of {asset} not green", days * len(SYMBOLS) - green, "", 0, note=f"{green} green")


def _warm_and_cold(made: Pipeline, rounds: int) -> Iterator[Figure]:
    """Execute ticks in turn in a warm worker and in a process of their own, which imports everything first."""

    def timed(instance: dg.DagsterInstance, cpu: Callable[[], float]) -> tuple[float, float]:
        run_id = made.create(TICK, utc_now().date(), utc_now().date(), instance)
        before, started = cpu(), time.time()
        instance.launch_run(run_id, made.workspace.create_request_context())
        wait_until(lambda: made.has_times(run_id), _PATIENCE, "the end of a tick", 0.02)
        latency = made.times(run_id)[1] - started
        # The process of a cold run lives a little longer than its run.
        wait_until(lambda: not made.processes["code"].children("spawn_main"), 90, "the end of a run's process", 0.05)
        if not made.run(run_id).is_success:
            raise RuntimeError(f"tick {run_id} failed")
        return latency, cpu() - before

    def workers_cpu() -> float:
        return sum(process.cpu() for process in (*(one.process for one in made.workers), made.processes["redis"]))

    pairs = []
    for number in range(rounds + 1):
        warm = timed(made.instance, workers_cpu)
        cold = timed(made.cold, made.processes["code"].cpu)
        # The first tick of each side opens connections, and draws the chart.
        if number:
            pairs.append((warm, cold))
    for at, what in ((0, "latency"), (1, "CPU time")):
        ratio = statistics.median(cold[at] / warm[at] for warm, cold in pairs)
        warm_s, cold_s = (statistics.median(pair[side][at] for pair in pairs) for side in (0, 1))
        note = f"{cold_s:.2f} s against {warm_s:.2f} s, {len(pairs)} pairs"
        yield Figure(f"tick in a cold process / in a warm worker, {what}", ratio, "x", 2, at_least=True, note=note)


def _requests(made: Pipeline, ranges: list[Range]) -> Iterator[Figure]:
    """Let both workers want more requests than a minute has; count, over everything before too, what was asked."""
    runs = [made.submit(COMPLETE_DAYS, *days) for days in ranges]
    for run_id in runs:
        _end(made, run_id)
    sent = made.sent()
    times = [datetime.fromisoformat(one["time"].replace("Z", "+00:00")).timestamp() for one in sent]
    busiest = max(sum(start <= at < start + _MINUTE for at in times) for start in times)
    by_worker = " and ".join(str(worker.requests()) for worker in made.workers)
    note = f"{len(sent)} requests in all, by the workers {by_worker}"
    yield Figure("requests in the busiest minute", busiest, "", REQUESTS_PER_MINUTE, note=note)
    yield Figure("requests refused by the source", sum(one["status"] == 429 for one in sent), "", 0)
    least = min(len(worker.started()) for worker in made.workers)
    yield Figure("runs of the worker with the fewest", least, "runs", 1, at_least=True)


def _secrets(made: Pipeline, folder: Path) -> Iterator[Figure]:
    """Look for the passwords in everything that the processes wrote and in Dagster's tables."""
    logs = [file for file in folder.rglob("*.log") if CANARY.encode() in file.read_bytes()]
    names = ", ".join(file.name for file in logs)
    yield Figure("logs that show a password", len(logs), "", 0, note=names)
