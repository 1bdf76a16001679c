"""The proof: many real processes, both databases, and the simulator's own log as the judge.

The processes sleep most of the time, so the crews of a test work side by side, each with a simulator of
its own and so with a limit of its own.
"""

import statistics
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from market_pipeline.budget.ledger import requests_by_hour
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import migrate
from market_pipeline_tests.budget.crew import Crew, most_in_a_minute
from market_pipeline_tests.builders import wait_for

LIMIT = 96
WORKERS = range(16)


@dataclass
class Log:
    """When requests reached the server (seconds, sorted) and from which worker, how many workers were
    killed meanwhile, and how many grants were lost with them before their request was sent."""

    times: list[float]
    workers: list[int]
    killed: int
    lost: int

    @property
    def throughput(self):
        """The share of the limit that is used, by how soon each place in the window is used again: a
        mean, because a busy machine is late now and again."""
        again = self.times[LIMIT - self.lost:]
        return 60 / statistics.mean(later - earlier for earlier, later in zip(self.times[:LIMIT], again))

    @property
    def fairness(self):
        """The requests of the slowest worker for each one of the fastest, once all have started."""
        served = Counter(self.workers[LIMIT:])
        return min(served[worker] for worker in WORKERS) / max(served.values())


@pytest.fixture
def another_file(sqlite_database, tmp_path):
    """Crews that share a SQLite file share its one lock as well."""
    database = Database(sqlite_database.url.set(database=str(tmp_path / "another.db")))
    migrate(database)
    yield database
    database.dispose()


@pytest.mark.slow
def test_sixteen_processes_use_the_whole_limit_never_more_and_share_it_fairly(
    sqlite_database, another_file, postgres_database, record_property
):
    """In different time zones, both of the processes and of their database sessions; undisturbed, and
    killed while they wait, while they ask, and in the middle of a transaction. Whoever is started in the
    place of one that was killed queues behind the others."""
    cases = {
        "SQLite": (sqlite_database, False),
        "PostgreSQL": (postgres_database, False),
        "SQLite, killed": (another_file, True),
        "PostgreSQL, killed": (postgres_database, True),
    }
    logs = dict(zip(cases, _side_by_side(_use_every_place_twice, cases.values())))
    for name, log in logs.items():
        figures = f"throughput {log.throughput:.3f}, fairness {log.fairness:.2f}"
        record_property(name, f"{figures}, {log.killed} killed, {log.lost} lost")
    assert {name: most_in_a_minute(log.times) for name, log in logs.items()} == dict.fromkeys(cases, LIMIT)
    assert [name for name, log in logs.items() if log.throughput < 0.95] == []
    assert [name for name, log in logs.items() if log.fairness < (0.3 if log.killed else 0.5)] == []
    assert all(log.killed > 20 for name, log in logs.items() if "killed" in name)


@pytest.mark.slow
def test_a_pause_asked_of_one_process_stops_all_and_those_that_start_later(
    sqlite_database, postgres_database
):
    pause = 8
    for times, asked in _side_by_side(_pause, [(sqlite_database, pause), (postgres_database, pause)]):
        # Those that were under way when the answer came arrive within a second or two.
        assert [moment for moment in times if asked + 2 < moment < asked + pause] == []
        assert any(moment >= asked + pause for moment in times)


def _use_every_place_twice(database, killing):
    """Until the places of two windows are granted, which takes a minute and a bit."""
    with Simulator(MarketModel(seed=1)) as simulator:
        with Crew(database, simulator, LIMIT) as crew:
            crew.start(*WORKERS)
            end, killed = time.monotonic() + 150, 0
            while _granted(database, crew) < 2 * LIMIT:
                assert time.monotonic() < end
                time.sleep(2)
                if killing:
                    crew.replace_at_random(WORKERS)
                    killed += 1
        times = crew.times()
        return Log(times, crew.workers(), killed, lost=_granted(database, crew) - len(times))


def _granted(database, crew):
    return sum(row.requests for row in requests_by_hour(database, utc_now() - DAY, crew.account.name))


def _pause(database, pause):
    """When requests came, and when one of them was answered 429; another process starts after that."""
    late = 99
    with Simulator(MarketModel(seed=1)) as simulator, Crew(database, simulator, 600) as crew:
        crew.start(*WORKERS)
        wait_for(lambda: len(simulator.requests) > 30, 40, "the crew's work")
        simulator.add_fault(Fault(kind="status", status=429, retry_after=pause, times=1))
        wait_for(lambda: any(sent.status == 429 for sent in simulator.requests), 40, "the refusal")
        crew.start(late)
        wait_for(lambda: crew.workers().count(late) > 2, 40, "the work of the late one")
        asked = next(sent.time.timestamp() for sent in simulator.requests if sent.status == 429)
        return crew.times(), asked


def _side_by_side(scenario, cases):
    """What `scenario` returns for each of `cases`, all of them at the same time."""
    with ThreadPoolExecutor(len(cases)) as pool:
        return [done.result() for done in [pool.submit(scenario, *case) for case in cases]]
