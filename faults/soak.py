"""A week of ticks at high speed in one warm worker, and the long-living processes beside it: nothing may grow.

The worker runs ticks back to back on PostgreSQL, each five minutes of simulated time after the one before, with the
hourly and nightly jobs between them. Daemon, code server, webserver and API run in real time with a tick a minute.
"""

import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.world import MARKET
from faults import process
from faults.options import Options
from faults.stores import Store, stores
from faults.ticker import SYMBOLS, Ticker, first_tick, seed_prices
from market_pipeline.core.clock import DAY
from market_pipeline.defs.partitions import range_tags
from market_pipeline.pipeline.names import ACCOUNT_REQUESTS, CALIBRATE_DETECTORS, COMPLETE_DAYS
from market_pipeline.simulator.feed import FIVE_MINUTES
from market_pipeline.simulator.server import Simulator

# Fewer ticks are over before the caches are full.
_ENOUGH = 400
PICTURE = Path(__file__).parents[1] / "docs" / "images" / "soak.png"


@dataclass(frozen=True)
class Sample:
    """What the worker held after a tick, and what the tick took."""

    at: datetime
    seconds: float
    cpu: float
    mib: float
    files: int
    threads: int
    connections: int


def figures(options: Options) -> Iterator[Figure]:
    """The worker on PostgreSQL, whose connections the server counts."""
    count = options.count(2_000, 24)
    with stores() as (_, store):
        samples, failed = _worked(store, options, count)
    yield Figure("ticks", len(samples), "", note=f"{samples[-1].at - samples[0].at} of simulated time")
    yield Figure("failed runs", failed, "", 0)
    full = len(samples) >= _ENOUGH
    for name, unit, bar, values in (
        ("resident memory, growth after warm-up", "MiB", 16, [sample.mib for sample in samples]),
        ("open files, growth", "", 2, [float(sample.files) for sample in samples]),
        ("threads, growth", "", 2, [float(sample.threads) for sample in samples]),
        ("connections to PostgreSQL, growth", "", 1, [float(sample.connections) for sample in samples]),
    ):
        note = f"{values[-1]:.0f} at the end, at most {max(values):.0f}"
        yield Figure(name, process.growth(values), unit, bar if full else None, note=note)
    cpu = [sample.cpu for sample in samples]
    quarter = max(1, len(samples) // 4)
    late, early = statistics.median(cpu[-quarter:]), statistics.median(cpu[quarter : 2 * quarter])
    note = f"{late:.2f} s CPU, {statistics.median(sample.seconds for sample in samples):.2f} s of wall time"
    yield Figure("a tick of the last quarter / of the second", late / early, "x", 1.15 if full else None, note=note)
    if not options.quick:
        _draw(samples)


def _worked(store: Store, options: Options, count: int) -> tuple[list[Sample], int]:
    """Run `count` ticks with the other jobs between them; return a sample a tick, and how many runs failed."""
    clock = first_tick(days_ago=1 + count // 288)
    seed_prices(store.database(), clock)
    samples: list[Sample] = []
    failed = 0
    with Simulator(MARKET, plan="pro", clock=lambda: clock) as simulator:
        ticker = Ticker(store.environment(simulator.base_url))
        for _ in options.repeat(count):
            clock += FIVE_MINUTES
            started, cpu = time.perf_counter(), time.process_time()
            failed += not ticker.tick(clock)
            samples.append(_sample(ticker, clock, time.perf_counter() - started, time.process_time() - cpu))
            failed += sum(not ticker.run(job, tags, clock) for job, tags in _due(clock))
            simulator.clear_requests()
        ticker.close()
    return samples, failed


def _due(now: datetime) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the other jobs whose schedules are due."""
    if now.minute == 0:
        yield ACCOUNT_REQUESTS, {}
    if (now.hour, now.minute) == (1, 0):
        yesterday = now.date() - DAY
        yield COMPLETE_DAYS, range_tags(yesterday, yesterday, SYMBOLS)
        yield CALIBRATE_DETECTORS, {}


def _sample(ticker: Ticker, at: datetime, seconds: float, cpu: float) -> Sample:
    query = text("SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'")
    with ticker.database.reading() as connection:
        connections = int(connection.execute(query).scalar_one())
    return Sample(
        at, seconds, cpu, process.resident_mib(), process.open_files(), process.threads(), connections
    )


def _draw(samples: Sequence[Sample]) -> None:
    from matplotlib.figure import Figure as Canvas

    days = [(sample.at - samples[0].at) / timedelta(days=1) for sample in samples]
    canvas = Canvas(figsize=(9, 6.5), layout="constrained")
    memory, held, cpu = canvas.subplots(3, 1, sharex=True)
    memory.plot(days, [sample.mib for sample in samples], linewidth=1)
    memory.set_ylabel("resident memory, MiB")
    for name in ("files", "threads", "connections"):
        held.plot(days, [getattr(sample, name) for sample in samples], linewidth=1, label=name)
    held.set_ylabel("held")
    held.legend(frameon=False, ncols=3)
    cpu.plot(days, [sample.cpu for sample in samples], ".", markersize=2)
    cpu.set_ylabel("a tick, s CPU")
    cpu.set_xlabel("days of simulated time, a tick every five minutes")
    for axes in (memory, held, cpu):
        axes.set_ylim(bottom=0)
        axes.spines[["top", "right"]].set_visible(False)
    canvas.suptitle(f"{len(samples):,} ticks in one warm worker on PostgreSQL")
    os.makedirs(PICTURE.parent, exist_ok=True)
    canvas.savefig(PICTURE, dpi=100)
