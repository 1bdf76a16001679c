"""Workers to be killed: forked from a process that has loaded everything, so that each starts at once.

A worker runs ticks until it dies: at a certain statement of the database, by its own hand, or whenever its driver kills
it. What it did last is in memory that it shares with the driver.
"""

import ctypes
import multiprocessing
import os
import re
import signal
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from multiprocessing.connection import Connection
from multiprocessing.sharedctypes import Synchronized, SynchronizedArray
from typing import Any

from sqlalchemy import Engine, event

from market_pipeline.simulator.feed import FIVE_MINUTES

# What a worker is doing, by the table of its last statement; the first that matches.
PHASES = (
    "start", "request budget", "request", "prices", "scores", "Dagster's events", "Dagster's runs", "reading", "commit",
)
_TABLES = (
    (re.compile("request_budgets|request_ledger"), 1),
    (re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (raw_prices|rejected_prices|source_gaps)"), 3),
    (re.compile(r"(INSERT INTO|UPDATE|DELETE FROM) (price_anomalies|scored_through)"), 4),
    (re.compile("event_logs|asset_keys|asset_event_tags|asset_check_executions"), 5),
    (re.compile(r"\bruns\b|run_tags|daemon|kvs"), 6),
)
_BUDGET, _REQUEST, _READING, _COMMIT = 1, 2, 7, 8


# A tick has some hundreds of statements.
_TRACED = 5_000


@dataclass(frozen=True)
class Shared:
    """What driver and worker both see: the simulated time, the number of statements sent, and their phases."""

    clock: "Synchronized[float]"
    statements: "Synchronized[int]"
    trace: "SynchronizedArray[int]"

    @property
    def now(self) -> datetime:
        """The simulated time: that of the newest tick."""
        return datetime.fromtimestamp(self.clock.value, timezone.utc)

    @property
    def phase(self) -> str:
        """What the worker did last."""
        return PHASES[self.trace[min(self.statements.value, _TRACED - 1)]]


@contextmanager
def nursery(environment: Mapping[str, str], clock: datetime) -> Iterator["Nursery"]:
    """Start the process that workers are forked from; `clock` is the time before the first tick."""
    context = multiprocessing.get_context("spawn")
    shared = Shared(
        context.Value(ctypes.c_double, clock.timestamp()),
        context.Value(ctypes.c_int, 0),
        context.Array(ctypes.c_byte, _TRACED),
    )
    ours, theirs = context.Pipe()
    process = context.Process(target=_bear, args=(dict(environment), shared, theirs), daemon=True)
    process.start()
    theirs.close()
    try:
        ours.recv()
        yield Nursery(ours, shared)
    finally:
        # It may ignore SIGTERM, which a process inherits.
        process.kill()
        process.join()


@dataclass(frozen=True)
class Nursery:
    """The driver's view of it."""

    pipe: Connection
    shared: Shared

    def fork(self, phase: str = "", number: int = 0) -> int:
        """Start a worker, which kills itself at the step of this number in `phase`, if given; return its process."""
        self.pipe.send((PHASES.index(phase) if phase else -1, number))
        return int(self.pipe.recv())

    def wait(self) -> int:
        """Wait for the end of the worker; return the signal that ended it, 0 if none did."""
        return int(self.pipe.recv())


def _bear(environment: dict[str, str], shared: Shared, pipe: Connection) -> None:
    # Only here: the driver imports it without any of this.
    import matplotlib.figure  # noqa: F401  # a tick draws, and each worker would load it anew

    from faults.ticker import Ticker

    ticker = Ticker(environment)
    ticker.prepare()
    pipe.send("ready")
    while True:
        dies_at = pipe.recv()
        worker = os.fork()
        if not worker:
            _work(ticker, shared, *dies_at)
        pipe.send(worker)
        _, status = os.waitpid(worker, 0)
        pipe.send(os.WTERMSIG(status) if os.WIFSIGNALED(status) else 0)


def _work(ticker: Any, shared: Shared, phase: int, number: int) -> None:
    """Run ticks until killed."""
    try:
        shared.statements.value = 0
        _watch(shared, phase, number)
        while True:
            shared.clock.value += FIVE_MINUTES.total_seconds()
            ticker.tick(shared.now)
    finally:
        os._exit(1)


def _watch(shared: Shared, last_phase: int, last_number: int) -> None:
    """Note the phase of each step, and die at the given one: before or after a statement, or at a commit."""
    steps: Counter[int] = Counter()

    def before(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        step(next((phase for tables, phase in _TABLES if tables.search(statement)), _READING))

    def after(*_: Any) -> None:
        step(shared.trace[min(shared.statements.value, _TRACED - 1)])

    def committing(_connection: Any) -> None:
        # The budget's transaction ends when the request may be sent, and begins when it is answered.
        last = shared.trace[min(shared.statements.value, _TRACED - 1)]
        step(_REQUEST if last == _BUDGET else _COMMIT)

    def step(phase: int) -> None:
        shared.statements.value += 1
        shared.trace[min(shared.statements.value, _TRACED - 1)] = phase
        steps[phase] += 1
        if phase == last_phase and steps[phase] == last_number:
            os.kill(os.getpid(), signal.SIGKILL)

    event.listen(Engine, "before_cursor_execute", before)
    event.listen(Engine, "after_cursor_execute", after)
    event.listen(Engine, "commit", committing)
