"""Somebody else's transaction: a lock on the SQLite file for 20 s, and a report that reads for an hour.

Promised: writers wait for a lock and readers do not notice it; a reader that stays open makes no call fail and no
acquire slow, and what grows behind it shrinks again when it ends.
"""

import multiprocessing
import sqlite3
import statistics
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

from sqlalchemy import URL, create_engine, text

from benchmarks.figures import Figure
from benchmarks.world import MARKET
from faults import rows
from faults.options import Options
from faults.stores import Store, stores
from faults.ticker import Ticker, first_tick, seed_prices
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import BUSY_SECONDS, Database

_LOCK_SECONDS = 20.0
_WAL_LIMIT = 64.0
# An hour of a busy installation: a tick a minute, a request in each, and a backfill of a year of one symbol.
_TICKS = 60
_HISTORY = 12_000
_SAMPLE = 40
_MIB = 2**20


def figures(options: Options) -> Iterator[Figure]:
    """The lock, then the reader on both databases."""
    with stores() as both:
        yield from _locked(both[0], 4.0 if options.quick else _LOCK_SECONDS)
        if not options.quick:
            yield from _locked_for_too_long(both[0].database())
        for store in both:
            yield from _read_for_an_hour(store, options.count(_TICKS, 12))


@contextmanager
def _somebody(database: Database, statement: str, seconds: float) -> Iterator[None]:
    """Another process that holds a transaction, begun with `statement`, for so long or until the block ends."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    holder = context.Process(target=_hold, args=(database.url, statement, seconds, theirs), daemon=True)
    holder.start()
    theirs.close()
    try:
        ours.recv()
        yield
    finally:
        ours.close()
        holder.join()


def _hold(url: URL, statement: str, seconds: float, pipe: Connection) -> None:
    if url.get_backend_name() == "sqlite":
        with closing(sqlite3.connect(url.database or "", isolation_level=None)) as connection:
            connection.execute(statement)
            connection.execute("SELECT count(*) FROM raw_prices").fetchone()
            _held(pipe, seconds)
    else:
        engine = create_engine(url, isolation_level="REPEATABLE READ")
        with engine.connect() as session:
            session.execute(text("SELECT count(*) FROM raw_prices"))
            _held(pipe, seconds)


def _held(pipe: Connection, seconds: float) -> None:
    pipe.send("holding")
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        try:
            if pipe.poll(0.05):
                pipe.recv()
        except EOFError:
            return  # the block has ended


def _locked(store: Store, seconds: float) -> Iterator[Figure]:
    """Reads, writes, acquires and a whole tick while somebody holds the lock."""
    database = store.database()
    clock = first_tick(1)
    seed_prices(database, clock)
    budget = rows.budget_of(database)
    calls: dict[str, Callable[[], object]] = {
        "read": lambda: rows.read(database),
        "write": lambda: rows.write(database, 1),
        "acquire": lambda: rows.acquire(budget),
    }
    for call in calls.values():
        call()
    with Simulator(MARKET, plan="pro", clock=lambda: clock) as simulator:
        ticker = Ticker(store.environment(simulator.base_url))
        ticker.prepare()
        with _somebody(database, "BEGIN IMMEDIATE", seconds):
            ends: dict[str, tuple[float, str]] = {}
            threads = [threading.Thread(target=_time, args=(ends, *one), daemon=True) for one in calls.items()]
            for thread in threads:
                thread.start()
            _time(ends, "tick", lambda: ticker.tick(clock))
            for thread in threads:
                thread.join()
        ticker.close()
    what = f"SQLite locked for {seconds:.0f} s"
    for name, (took, failed) in ends.items():
        # How long a tick works by itself depends on the machine: it must succeed.
        bar = {"read": 2.0, "tick": None}.get(name, seconds + 3)
        yield Figure(f"{what}: the {name} took", took, "s", bar, note=failed)
    failures = [f"{name}: {failed}" for name, (_, failed) in ends.items() if failed]
    yield Figure(f"{what}: calls that failed", len(failures), "", 0, note="; ".join(failures))


def _time(ends: dict[str, tuple[float, str]], name: str, call: Callable[[], object]) -> None:
    started, failed = time.monotonic(), ""
    try:
        if call() is False:
            failed = "the run failed"
    # Any failure breaks the promise.
    except Exception as error:
        failed = f"{type(error).__name__}: {str(error)[:150]}"
    ends[name] = time.monotonic() - started, failed


def _locked_for_too_long(database: Database) -> Iterator[Figure]:
    """A lock longer than the patience: the error says so."""
    with _somebody(database, "BEGIN IMMEDIATE", BUSY_SECONDS + 15.0):
        started = time.monotonic()
        try:
            rows.write(database, 2)
            said = "no error"
        except DatabaseUnavailable as error:
            said = str(error)
        took = time.monotonic() - started
    yield Figure("SQLite locked for longer: a write gives up", took, "s", BUSY_SECONDS + 5.0, note=said[-160:])
    yield Figure("SQLite locked for longer: the error names it", int("held its lock" in said), "", 1, at_least=True)
    rows.write(database, 2)


def _read_for_an_hour(store: Store, ticks: int) -> Iterator[Figure]:
    database = store.database()
    budget = rows.budget_of(database)
    before = [_seconds(lambda: rows.acquire(budget)) for _ in range(_SAMPLE)]
    grown_from = _size(database)
    with _somebody(database, "BEGIN", 3_600.0):
        for number in range(ticks):
            rows.write(database, 1_000 + number)
            rows.acquire(budget)
        for block in range(5):
            rows.write_many(database, _HISTORY, block + 1)
        during = [_seconds(lambda: rows.acquire(budget)) for _ in range(_SAMPLE)]
        grown_to = _size(database)
    # The next writes find nobody in the way.
    for number in range(3):
        rows.write(database, 5_000 + number)
    rows.write_many(database, _HISTORY, 9)
    rows.acquire(budget)
    after = [_seconds(lambda: rows.acquire(budget)) for _ in range(_SAMPLE)]
    what, grows = store.name, "write-ahead log" if database.dialect == "sqlite" else "budget's table"
    ratio = statistics.median(during) / statistics.median(before)
    note = f"{1000 * statistics.median(before):.1f} ms before, {1000 * statistics.median(after):.1f} ms after"
    yield Figure(f"{what}, a reader for an hour: {grows} grows by", (grown_to - grown_from) / _MIB, "MiB", _WAL_LIMIT)
    yield Figure(f"{what}, a reader for an hour: acquire, during / before", ratio, "x", 3, note=note)
    yield Figure(f"{what}, after it: {grows}", _size(database) / _MIB, "MiB", _WAL_LIMIT)


def _size(database: Database) -> float:
    """The bytes of what a reader keeps from being cleaned up."""
    if database.dialect == "sqlite":
        wal = Path(f"{database.url.database}-wal")
        return float(wal.stat().st_size) if wal.exists() else 0.0
    with database.reading() as connection:
        return float(connection.execute(text("SELECT pg_total_relation_size('request_budgets')")).scalar_one())


def _seconds(call: Callable[[], object]) -> float:
    started = time.perf_counter()
    call()
    return time.perf_counter() - started
