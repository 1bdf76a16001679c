"""What it costs to ask the shared budget for a request: the wait for its lock and its transaction.

Wall time without the pauses between turns. The limit is so high that nobody waits for the window, and
a request takes as long as a fast one does.
"""

import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Iterator
from multiprocessing.synchronize import Barrier

from sqlalchemy import URL
from sqlalchemy.engine import make_url

from benchmarks.figures import Figure
from benchmarks.world import postgresql
from market_pipeline.budget.plan_limits import Account, Limits
from market_pipeline.budget.shared import SharedBudget
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate

PROCESSES = 8
# As many grants are in the window of a budget of 100 requests a minute, which is the default's most.
ROUNDS = 100
_LIMITS = Limits(1_000_000, 100_000_000)
REQUEST_SECONDS = 0.05
# A few milliseconds; with eight processes at once, the transactions of the seven others as well.
BAR_ALONE = 5
BAR_CONTENDED = 5 * PROCESSES


def figures() -> Iterator[Figure]:
    """Median and 99th percentile on both databases, alone and with eight processes at once."""
    with tempfile.TemporaryDirectory() as folder, postgresql() as server:
        for url in (make_url(f"sqlite:///{folder}/prices.db"), server):
            database = Database(url)
            migrate(database)
            database.dispose()
            name = "SQLite" if database.dialect == "sqlite" else "PostgreSQL"
            yield from _two(f"{name}: acquire", _alone(url), BAR_ALONE)
            yield from _two(f"{name}: acquire, {PROCESSES} processes at once", _contended(url), BAR_CONTENDED)


def _two(name: str, times: list[float], bar: float) -> Iterator[Figure]:
    yield Figure(f"{name}, median", statistics.median(times), "ms", bar)
    yield Figure(f"{name}, 99th percentile", statistics.quantiles(times, n=100)[98], "ms")


def _alone(url: URL) -> list[float]:
    return _acquires(url, "alone")


def _contended(url: URL) -> list[float]:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(PROCESSES), context.SimpleQueue()
    crew = [context.Process(target=_report, args=(url, barrier, results)) for _ in range(PROCESSES)]
    for process in crew:
        process.start()
    times = [duration for _ in crew for duration in results.get()]
    for process in crew:
        process.join()
    return times


def _report(url: URL, barrier: Barrier, results: "multiprocessing.SimpleQueue[list[float]]") -> None:
    barrier.wait()
    results.put(_acquires(url, "contended"))


def _acquires(url: URL, account: str) -> list[float]:
    """Milliseconds of each acquire, after some that are not counted."""
    database = Database(url)
    budget = SharedBudget(database, Account("pro", account), _LIMITS)
    times = []
    for _ in range(ROUNDS + 5):
        started = time.perf_counter()
        grant = budget.acquire("/simple/price")
        times.append(1_000 * (time.perf_counter() - started - grant.waited))
        time.sleep(REQUEST_SECONDS)
        budget.settle(grant, "200")
    database.dispose()
    return times[5:]
