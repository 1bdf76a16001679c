"""Runs killed with -9 at random moments: no slice is lost, doubled or half written, and the next tick repairs.

Half of the workers are killed from outside after a random time, half by their own hand before or after a statement, in
each phase in turn. What must hold is read from the tables after each kill, and again after one tick that nobody
disturbs.
"""

import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from datetime import timedelta
from itertools import cycle
from pathlib import Path

import dagster as dg
from sqlalchemy import text

from benchmarks.figures import Figure
from benchmarks.world import MARKET
from faults import invariants
from faults.nursery import PHASES, Nursery, nursery
from faults.options import Options
from faults.stores import Store, stores
from faults.ticker import Ticker, before_a_jump, seed_prices
from market_pipeline.core.clock import DAY
from market_pipeline.dagster_instance.runs_in_flight import end_dead_runs, runs_in_flight
from market_pipeline.pipeline.names import TICK
from market_pipeline.simulator.feed import FIVE_MINUTES
from market_pipeline.simulator.server import Simulator

_SHOWN = 3


def figures(options: Options) -> Iterator[Figure]:
    """The given number of kills, half of them on each engine."""
    count = options.count(200, 12)
    with stores() as both:
        for store in both:
            yield from _Trial(store, options).figures(max(1, count // 2))


class _Trial:
    """The kills on one store."""

    _bred: Nursery
    _order: Iterator[str]

    def __init__(self, store: Store, options: Options) -> None:
        self._store = store
        self._options = options
        self._rng = options.random(f"kills on {store.name}")
        self._database = store.database()
        self._start = before_a_jump()
        self._phases: Counter[str] = Counter()
        self._broken: list[str] = []
        self._unrepaired: list[str] = []
        self._killed = self._arrived = self._stored = 0
        self._two_ticks = 1.0
        self._steps: Counter[str] = Counter()

    def figures(self, count: int) -> Iterator[Figure]:
        seed_prices(self._database, self._start)
        with Simulator(MARKET, plan="pro", clock=lambda: self._bred.shared.now) as simulator:
            environment = self._store.environment(simulator.base_url)
            ticker = Ticker(environment)
            with nursery(environment, self._start) as self._bred:
                self._calibrate(ticker)
                for _ in self._options.repeat(count):
                    self._kill(simulator)
                    self._verify(ticker)
                    self._repair(ticker, simulator)
            anomalies = self._count("price_anomalies")
            damaged = self._damaged()
            runs = len(ticker.instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])))
            ticker.close()
        name = self._store.name
        phases = ", ".join(f"{phase} {number}" for phase, number in self._phases.most_common())
        yield Figure(f"{name}: runs killed with -9", self._killed, "", note=f"during: {phases}")
        yield Figure(
            f"{name}: lost, doubled or half-written", len(self._broken), "", 0, note="; ".join(self._broken[:_SHOWN])
        )
        note = "; ".join(self._unrepaired[:_SHOWN]) or f"{anomalies} anomalies, equal to those scored afresh"
        yield Figure(f"{name}: not repaired by the next tick", len(self._unrepaired), "", 0, note=note)
        yield Figure(f"{name}: runs that still count as running", runs, "", 0)
        yield Figure(f"{name}: damaged files", len(damaged), "", 0, note=", ".join(damaged))
        note = f"{self._arrived:,} arrived"
        yield Figure(f"{name}: requests in the ledger", self._count("request_ledger", "sum(requests)"), "", note=note)

    def _calibrate(self, ticker: Ticker) -> None:
        """Measure how long an undisturbed tick takes, and how many steps of each phase it has."""
        worker = self._bred.fork()
        shared, begun = self._bred.shared, self._bred.shared.clock.value
        started = time.monotonic()
        while shared.clock.value < begun + 3 * FIVE_MINUTES.total_seconds():
            time.sleep(0.01)
        self._two_ticks = time.monotonic() - started
        for number in range(1, shared.statements.value):
            self._steps[PHASES[shared.trace[number]]] += 1
        self._order = cycle(sorted(self._steps))
        os.kill(worker, signal.SIGKILL)
        self._bred.wait()
        self._killed += 1
        end_dead_runs(ticker.instance, ticker.owner, [TICK])
        self._next_tick(ticker)
        self._stored = invariants.count_prices(self._database, shared.now)

    def _kill(self, simulator: Simulator) -> None:
        """Let a worker die during its first or second tick."""
        bred, rng = self._bred, self._rng
        by_itself = rng.random() < 0.5
        if by_itself:
            phase = next(self._order)
            bred.fork(phase, rng.randint(1, self._steps[phase]))
        else:
            worker = bred.fork()
            time.sleep(rng.uniform(0, self._two_ticks))
            os.kill(worker, signal.SIGKILL)
        if bred.wait() != signal.SIGKILL:
            self._broken.append("a worker ended by itself")
        self._killed += 1
        self._phases[bred.shared.phase if bred.shared.statements.value else "start"] += 1
        self._arrived += len(simulator.requests)
        simulator.clear_requests()

    def _verify(self, ticker: Ticker) -> None:
        """Check what holds right after the kill."""
        now = self._bred.shared.now
        days = [now.date() - DAY, now.date()]
        stored = invariants.count_prices(self._database, now)
        found = [
            *invariants.prices(self._database, self._start, now + FIVE_MINUTES),
            *invariants.anomalies(self._database, now.date(), None, now),
            *invariants.dagster_index(self._database, ticker.instance, days, repaired=False),
            *invariants.requests(self._database, self._arrived, self._killed),
            *invariants.sessions(self._database, timedelta(seconds=5)),
        ]
        if stored < self._stored:
            found.append(f"{self._stored - stored} prices lost")
        if runs_in_flight(ticker.instance, ticker.owner, TICK):
            found.append("the killed run blocks the schedule")
        self._broken += [f"{sentence} (at {self._bred.shared.phase})" for sentence in found]

    def _repair(self, ticker: Ticker, simulator: Simulator) -> None:
        """Run the next tick undisturbed, and check that everything is as if nothing had happened."""
        end_dead_runs(ticker.instance, ticker.owner, [TICK])
        if not self._next_tick(ticker):
            self._unrepaired.append("the next tick failed")
        self._arrived += len(simulator.requests)
        simulator.clear_requests()
        now = self._bred.shared.now
        self._unrepaired += [
            *invariants.prices(self._database, self._start, now + FIVE_MINUTES),
            *invariants.holes(self._database, now),
            *invariants.anomalies(self._database, now.date(), None),
            *invariants.dagster_index(self._database, ticker.instance, [now.date()], repaired=True),
            *invariants.requests(self._database, self._arrived, self._killed),
        ]
        self._stored = invariants.count_prices(self._database, now + FIVE_MINUTES)

    def _next_tick(self, ticker: Ticker) -> bool:
        self._bred.shared.clock.value += FIVE_MINUTES.total_seconds()
        return ticker.tick(self._bred.shared.now)

    def _count(self, table: str, what: str = "count(*)") -> int:
        with self._database.reading() as connection:
            return int(connection.execute(text(f"SELECT {what} FROM {table}")).scalar_one())

    def _damaged(self) -> list[str]:
        """Return the SQLite files, ours and Dagster's, that fail SQLite's own examination."""
        if self._database.dialect != "sqlite":
            return []
        files = [Path(self._database.url.database or ""), *self._store.home.rglob("*.db")]
        return [file.name for file in files if _examined(file) != "ok"]


def _examined(file: Path) -> str:
    with closing(sqlite3.connect(file)) as connection:
        return str(connection.execute("PRAGMA integrity_check").fetchone()[0])
