"""The proof: many real processes, both databases, and the simulator's own log as the judge.

The processes sleep most of the time, so the crews of a test work side by side, each with a simulator and
so with a limit of its own. The minute of the rules is shortened; its length is tested elsewhere.
"""

import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from market_pipeline.budget.ledger import requests_by_hour
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market_model import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline_tests.budget.crew import Crew, most_within
from market_pipeline_tests.builders import wait_for

LIMIT, MINUTE = 40, 14.0
WORKERS = range(16)
T = TypeVar("T")


@dataclass
class Log:
    """When requests reached the server (seconds, sorted) and from which worker.

    `killed` workers were killed meanwhile, and `lost` grants with them before their request was sent.
    """

    times: list[float]
    workers: list[int]
    killed: int
    lost: int

    @property
    def throughput(self) -> float:
        """The share of the limit that is used: how soon, on average, each place in the window is used again."""
        pairs = zip(self.times[:LIMIT], self.times[LIMIT - self.lost:], strict=False)
        return (MINUTE + 1) / statistics.mean(later - earlier for earlier, later in pairs)

    @property
    def fairness(self) -> float:
        """The requests of the slowest worker for each one of the fastest, once all have started."""
        served = Counter(self.workers[LIMIT:])
        return min(served[worker] for worker in WORKERS) / max(served.values())


@pytest.fixture
def another_file(sqlite_database: Database, tmp_path: Path) -> Iterator[Database]:
    """A second SQLite file: crews that share one share its lock as well."""
    database = Database(sqlite_database.url.set(database=str(tmp_path / "another.db")))
    migrate(database)
    yield database
    database.dispose()


@pytest.mark.slow
def test_sixteen_processes_use_the_whole_limit_never_more_and_share_it_fairly(
    sqlite_database: Database,
    another_file: Database,
    postgres_database: Database,
    record_property: Callable[[str, object], None],
) -> None:
    """In different time zones, undisturbed, and killed while they wait, send, and hold a transaction."""
    cases = {
        "SQLite": (sqlite_database, False),
        "PostgreSQL": (postgres_database, False),
        "SQLite, killed": (another_file, True),
        "PostgreSQL, killed": (postgres_database, True),
    }
    logs = dict(zip(cases, _side_by_side(_use_every_place_twice, cases.values()), strict=True))
    for name, log in logs.items():
        figures = f"throughput {log.throughput:.3f}, fairness {log.fairness:.2f}"
        record_property(name, f"{figures}, {log.killed} killed, {log.lost} lost")
    most = {name: most_within(MINUTE, log.times) for name, log in logs.items()}
    assert [name for name, log in logs.items() if not LIMIT - log.lost <= most[name] <= LIMIT] == []
    assert [name for name, log in logs.items() if log.throughput < (0.8 if log.killed else 0.9)] == []
    assert [name for name, log in logs.items() if log.fairness < (0.2 if log.killed else 0.4)] == []
    assert all(log.killed > 8 for name, log in logs.items() if "killed" in name)


@pytest.mark.slow
def test_a_pause_requested_from_one_process_stops_all_and_those_that_start_later(
    sqlite_database: Database, postgres_database: Database
) -> None:
    pause = 5
    for times, refused in _side_by_side(_pause, [(sqlite_database, pause), (postgres_database, pause)]):
        # Those that were under way when the answer came arrive within a second or two.
        assert [moment for moment in times if refused + 2 < moment < refused + pause] == []
        assert any(moment >= refused + pause for moment in times)


def _use_every_place_twice(database: Database, killing: bool) -> Log:
    """Run until the places of two windows are granted."""
    with Simulator(MarketModel(seed=1)) as simulator:
        with Crew(database, simulator, LIMIT, MINUTE) as crew:
            crew.start(*WORKERS)
            end, killed = time.monotonic() + 100, 0
            while _granted(database, crew) < 2 * LIMIT:
                assert time.monotonic() < end
                time.sleep(2)  # the pace of the killing
                if killing:
                    crew.replace_at_random(WORKERS)
                    killed += 1
        log = crew.log()
        times, workers = [moment for moment, _ in log], [worker for _, worker in log]
        return Log(times, workers, killed, lost=_granted(database, crew) - len(times))


def _granted(database: Database, crew: Crew) -> int:
    return sum(row.requests for row in requests_by_hour(database, utc_now() - DAY, crew.account.name))


def _pause(database: Database, pause: int) -> tuple[list[float], float]:
    """When requests came, and when one of them was answered 429; another process starts after that."""
    late = 99
    with Simulator(MarketModel(seed=1)) as simulator, Crew(database, simulator, 600, 60) as crew:
        crew.start(*WORKERS)
        wait_for(lambda: len(simulator.requests) > 30, 40, "the crew's work")
        simulator.add_fault(Fault(kind="status", status=429, retry_after=pause, times=1))
        wait_for(lambda: any(sent.status == 429 for sent in simulator.requests), 40, "the refusal")
        crew.start(late)
        wait_for(lambda: [worker for _, worker in crew.log()].count(late) > 2, 40, "the work of the late one")
        refused = next(sent.time.timestamp() for sent in simulator.requests if sent.status == 429)
        return [moment for moment, _ in crew.log()], refused


def _side_by_side(scenario: Callable[..., T], cases: Iterable[tuple[Any, ...]]) -> list[T]:
    """What `scenario` returns for each of `cases`, all of them at the same time."""
    given = list(cases)
    with ThreadPoolExecutor(len(given)) as pool:
        return [done.result() for done in [pool.submit(scenario, *case) for case in given]]
