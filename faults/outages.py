"""PostgreSQL goes away in the middle of reads, writes and acquires, and comes back; or it stays and does not answer.

Promised: each call succeeds or ends with a `StorageError` in bounded time; what was acknowledged is there, what failed
is there as a whole or not at all; the same process works again as soon as the server does.
"""

import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from sqlalchemy import URL, func, select

from benchmarks.figures import Figure
from benchmarks.world import COINS
from faults import process, rows
from faults.options import Options
from faults.stores import PostgreSQL, postgresql, postgresql_store, scratch
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline.storage.schema.operations_tables import request_ledger

# More than the bulk path needs.
_MANY = 12_000
_SILENT_SECONDS = 20.0
# A stopped server gives up its place in the pool and is found again.
_BACK_SECONDS = 5.0


def figures(options: Options) -> Iterator[Figure]:
    """Restarts under load, then silence."""
    with scratch() as folder, postgresql(folder) as server:
        store = postgresql_store(folder / "store", server.url)
        yield from _restarts(server, store.database(), options)
        yield from _silence(server, store.database())
    yield from _black_hole()


@dataclass
class _Worker:
    """Calls one thing in a thread, again and again, and notes how each call ended."""

    name: str
    call: Callable[[int], object]
    done: Counter[str] = field(default_factory=Counter)
    others: list[str] = field(default_factory=list)
    acknowledged: list[int] = field(default_factory=list)
    longest: float = 0.0
    good_at: float = 0.0

    def run(self, stop: threading.Event) -> None:
        number = 0
        while not stop.is_set():
            started = time.monotonic()
            try:
                self.call(number)
                self.done["ok"] += 1
                self.acknowledged.append(number)
                self.good_at = time.monotonic()
            except StorageError as error:
                self.done[type(error).__name__] += 1
                time.sleep(0.02)
            # Every kind of exception is what is looked for.
            except Exception as error:
                self.others.append(f"{type(error).__name__}: {str(error)[:200]}")
            self.longest = max(self.longest, time.monotonic() - started)
            number += 1


def _restarts(server: PostgreSQL, database: Database, options: Options) -> Iterator[Figure]:
    count, rng = options.count(40, 4), options.random("outages")
    budget = rows.budget_of(database)
    workers = [
        _Worker("reads", lambda _: rows.read(database)),
        _Worker("writes", lambda number: rows.write(database, number)),
        _Worker("acquires", lambda _: rows.acquire(budget)),
    ]
    stop = threading.Event()
    threads = [threading.Thread(target=worker.run, args=(stop,), daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    back: list[float] = []
    crashes = 0
    for number in options.repeat(count):
        time.sleep(rng.uniform(0.2, 1.0))
        crashes += number % 2
        (PostgreSQL.crash if number % 2 else PostgreSQL.stop)(server)
        time.sleep(rng.uniform(0.0, 1.5))
        server.start()
        up = time.monotonic()
        while any(worker.good_at < up for worker in workers) and time.monotonic() < up + 30:
            time.sleep(0.005)
        back.append(time.monotonic() - up)
    stop.set()
    for thread in threads:
        thread.join()
    note = f"{crashes} of them kill -9 of the whole server"
    yield Figure("PostgreSQL stopped and started", len(back), "", note=note)
    for worker in workers:
        ends = ", ".join(f"{name} {number:,}" for name, number in worker.done.most_common())
        yield Figure(f"{worker.name}: errors of other kinds", len(worker.others), "", 0,
                     note=f"{ends}; longest {worker.longest:.1f} s {'; '.join(worker.others[:2])}")
    yield Figure("until all three work again, longest", max(back), "s", _BACK_SECONDS)
    yield from _kept(database, workers[1], workers[2], crashes)


def _kept(database: Database, writes: _Worker, acquires: _Worker, crashes: int) -> Iterator[Figure]:
    """Compare what the callers were told with what the tables hold."""
    found = rows.written(database)
    with database.reading() as connection:
        counted = connection.execute(select(func.sum(request_ledger.c.requests))).scalar_one()
    lost = [number for number in writes.acknowledged if number not in found]
    halves = [number for number, count in found.items() if count != len(KNOWN_COINS)]
    yield Figure("acknowledged writes that are lost", len(lost), "", 0, note=f"of {len(writes.acknowledged):,}")
    yield Figure("writes that are there in part", len(halves), "", 0, note=f"of {len(found):,}")
    missing = max(0, len(acquires.acknowledged) - int(counted))
    # Grants do not wait for the disk: a crash may lose those of its last moments (decision 20).
    note = f"of {len(acquires.acknowledged):,}; a crash may lose the grants of its last 0.6 s"
    yield Figure("grants that the ledger has lost", missing, "", 100 * crashes, note=note)


def _silence(server: PostgreSQL, database: Database) -> Iterator[Figure]:
    """A server whose processes stand still: it accepts, and answers neither new connections nor open ones."""
    calls = _calls(database)
    for call in calls.values():
        call()
    frozen = [server.pid, *process.children(server.pid)]
    process.send(frozen, signal.SIGSTOP)
    try:
        yield from _bounded("PostgreSQL stands still", calls)
    finally:
        process.send(frozen, signal.SIGCONT)
    started = time.monotonic()
    while not _works(calls["a small read"]) and time.monotonic() < started + 30:
        time.sleep(0.05)
    yield Figure("works again after it", time.monotonic() - started, "s", _BACK_SECONDS)


def _black_hole() -> Iterator[Figure]:
    """A host that accepts connections and says nothing: a firewall that drops, a server that has failed over."""
    with _accepting() as port:
        database = Database(URL.create("postgresql+psycopg2", "u", "p", "127.0.0.1", port, "x"), COINS)
        yield from _bounded("a black hole", _calls(database))


def _bounded(what: str, calls: dict[str, Callable[[], object]]) -> Iterator[Figure]:
    """Make all calls at once; each must end in time and with the right error."""
    ends: dict[str, tuple[float, str]] = {}

    def note(name: str, call: Callable[[], object]) -> None:
        started = time.monotonic()
        try:
            call()
            ended = "no error"
        except StorageError as error:
            ended = type(error).__name__
        except Exception as error:
            ended = f"another kind: {type(error).__name__}: {str(error)[:150]}"
        ends[name] = time.monotonic() - started, ended

    threads = [threading.Thread(target=note, args=one, daemon=True) for one in calls.items()]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    for name in calls:
        seconds, ended = ends.get(name, (60.0, "still waiting"))
        yield Figure(f"{what}: {name} gives up", seconds, "s", _SILENT_SECONDS, note=ended)
    wrong = [name for name, (_, ended) in ends.items() if ended not in ("DatabaseUnavailable", "WriteFailed")]
    yield Figure(f"{what}: calls without the right error", len(wrong), "", 0, note=", ".join(wrong))


def _calls(database: Database) -> dict[str, Callable[[], object]]:
    budget = rows.budget_of(database)
    return {
        "a small read": lambda: rows.read(database),
        "a read through Arrow": lambda: rows.read_by_arrow(database),
        "a write": lambda: rows.write(database, 1),
        "a write through Arrow": lambda: rows.write_many(database, _MANY),
        "an acquire": lambda: rows.acquire(budget),
        "the check of the schema": lambda: check_schema(database),
    }


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except StorageError:
        return False
    return True


@contextmanager
def _accepting() -> Iterator[int]:
    held: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:

        def accept() -> None:
            try:
                while True:
                    held.append(listener.accept()[0])
            except OSError:
                pass  # closed

        threading.Thread(target=accept, daemon=True).start()
        yield listener.getsockname()[1]
