"""A full disk and a read-only file system, under SQLite, under PostgreSQL and under Dagster's own storage.

Promised: each call ends with a `StorageError` that says why, nothing is half written, and the same process works again
as soon as the disk does. Needs the right to mount a small file system in memory.
"""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.world import MARKET
from faults import invariants, rows
from faults.options import Options
from faults.stores import Store, postgresql, postgresql_store, scratch, sqlite_store
from faults.ticker import Ticker, first_tick, seed_prices
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.dagster_instance.runs_in_flight import end_dead_runs, runs_in_flight
from market_pipeline.pipeline.names import TICK
from market_pipeline.simulator.feed import FIVE_MINUTES
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema

_BLOCK = 12_000


class _NoMount(Exception):
    """This user may not mount."""


def figures(options: Options) -> Iterator[Figure]:
    """Each disk in turn."""
    try:
        with scratch() as folder:
            yield from _full_sqlite(folder)
            yield from _read_only(folder)
            yield from _full_postgresql(folder)
            yield from _full_under_ticks(folder)
    except _NoMount as error:
        yield Figure("not run: no right to mount", 0, "", note=str(error))


@contextmanager
def _disk(folder: Path, megabytes: int) -> Iterator[Path]:
    """A file system of its own of this size."""
    where = folder / "disk"
    where.mkdir(exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={megabytes}m,mode=0755", "faults", str(where)]
    mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    if mounted.returncode:
        raise _NoMount(mounted.stderr.strip())
    try:
        yield where
    finally:
        subprocess.run(["umount", "--lazy", str(where)], check=True)


def _fill(disk: Path, leave: int = 0) -> Path:
    """Use up all space of `disk` but `leave` bytes, with a file that is returned."""
    filler = disk / "filler"
    with filler.open("wb") as file:
        free = os.statvfs(disk)
        try:
            file.write(b"x" * max(0, free.f_bavail * free.f_frsize - leave))
        except OSError:
            pass  # full, which is what is wanted
    return filler


def _full_sqlite(folder: Path) -> Iterator[Figure]:
    with _disk(folder, 24) as disk:
        database = sqlite_store(disk / "store").database()
        yield from _filled("SQLite, full disk", database, disk)
        database.dispose()


def _full_postgresql(folder: Path) -> Iterator[Figure]:
    with _disk(folder, 220) as disk, postgresql(disk) as server:
        database = postgresql_store(disk / "store", server.url).database()
        yield from _filled("PostgreSQL, full disk", database, disk)
        database.dispose()


def _filled(what: str, database: Database, disk: Path) -> Iterator[Figure]:
    """Write until the disk is full, in both ways; then make room, and write again."""
    rows.write(database, 0)
    filler = _fill(disk, leave=3_000_000)
    bulk, _ = _until_refused(lambda block: rows.write_many(database, _BLOCK, block))
    _fill_up(filler)
    small, number = _until_refused(lambda number: rows.write(database, number))
    budget = rows.budget_of(database)
    acquired, _ = _until_refused(lambda _: rows.acquire(budget))
    read = _outcome(lambda: rows.read(database))
    found = rows.written(database)
    filler.unlink()
    again = _outcome(lambda: rows.write(database, number + 1))
    yield Figure(f"{what}: writes until it was full", number, "", note=_first_words(small))
    wrong = [str(end) for end in (bulk, small, acquired) if not isinstance(end, StorageError)]
    yield Figure(f"{what}: calls without the right error", len(wrong), "", 0, note="; ".join(wrong))
    halves = [number for number, count in found.items() if count != len(KNOWN_COINS)]
    missing = [n for n in range(number) if n not in found]
    yield Figure(f"{what}: writes lost or there in part", len(halves) + len(missing), "", 0)
    yield Figure(f"{what}: reads that fail meanwhile", int(read is not None), "", 0, note=_first_words(read))
    yield Figure(f"{what}: writes that fail with room again", int(again is not None), "", 0, note=_first_words(again))


def _fill_up(filler: Path) -> None:
    """Use up what is left, in the smallest pieces."""
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass  # full


def _until_refused(call: Callable[[int], None]) -> tuple[Exception | None, int]:
    """Call with growing numbers until a call fails; return its error and its number."""
    for number in range(1, 100_000):
        if error := _outcome(lambda: call(number)):  # noqa: B023  # called at once
            return error, number
    return None, 0


def _outcome(call: Callable[[], object]) -> Exception | None:
    try:
        call()
    # Every kind of exception is what is looked for.
    except Exception as error:
        return error
    return None


def _first_words(error: Exception | None) -> str:
    return "" if error is None else f"{type(error).__name__}: {' '.join(str(error).split())[:180]}"


def _read_only(folder: Path) -> Iterator[Figure]:
    """A file system that the kernel has made read-only after errors of its disk, or that was mounted so."""
    what = "SQLite, read-only file system"
    with _disk(folder, 24) as disk:
        database = sqlite_store(disk / "store").database()
        rows.write(database, 0)
        # The system refuses it while files are open for writing.
        database.dispose()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        budget = rows.budget_of(database)
        ends = {
            "write": _outcome(lambda: rows.write(database, 1)),
            "read": _outcome(lambda: rows.read(database)),
            "acquire": _outcome(lambda: rows.acquire(budget)),
            "check of the schema": _outcome(lambda: check_schema(database)),
        }
        database.dispose()
        subprocess.run(["mount", "-o", "remount,rw", str(disk)], check=True)
        again = _outcome(lambda: rows.write(database, 2))
        database.dispose()
    wrong = [name for name, error in ends.items() if not isinstance(error, StorageError)]
    note = f"{', '.join(wrong)} {_first_words(ends['write'])}"
    yield Figure(f"{what}: calls without the right error", len(wrong), "", 0, note=note.strip())
    yield Figure(f"{what}: writes that fail afterwards", int(again is not None), "", 0, note=_first_words(again))


def _full_under_ticks(folder: Path) -> Iterator[Figure]:
    """Whole ticks with prices and Dagster's storage on the same full disk, then with room again."""
    with _disk(folder, 40) as disk:
        store = sqlite_store(disk / "store")
        clock = first_tick(1)
        seed_prices(store.database(), clock)
        times = [clock + n * FIVE_MINUTES for n in range(1, 5)]
        yield from _ticks_on(store, disk, times)


def _ticks_on(store: Store, disk: Path, times: list[datetime]) -> Iterator[Figure]:
    now = times[0]
    with Simulator(MARKET, plan="pro", clock=lambda: now) as simulator:
        ticker = Ticker(store.environment(simulator.base_url))
        good = ticker.tick(now)
        filler = _fill(disk)
        ends = []
        for now in times[1:3]:
            error = _outcome(lambda: ends.append(ticker.tick(now)))  # noqa: B023  # called at once
            if error:
                ends.append(False)
        filler.unlink()
        end_dead_runs(ticker.instance, ticker.owner, [TICK])
        blocked = runs_in_flight(ticker.instance, ticker.owner, TICK)
        now = times[3]
        repaired = ticker.tick(now)
        found = [
            *invariants.prices(ticker.database, times[0], now + FIVE_MINUTES),
            *invariants.holes(ticker.database, now),
            *invariants.anomalies(ticker.database, now.date(), None),
            *invariants.dagster_index(ticker.database, ticker.instance, [now.date()], repaired=True),
        ]
        ticker.close()
    what = "a tick on a full disk"
    yield Figure(f"{what}: ticks that claim success", sum(ends), "", 0, note=f"of {len(ends)}")
    yield Figure(f"{what}: runs that block the next tick", len(blocked), "", 0)
    yield Figure(f"{what}: first tick with room again", int(good and repaired), "", 1, at_least=True)
    yield Figure(f"{what}: not repaired by it", len(found), "", 0, note="; ".join(found[:3]))
