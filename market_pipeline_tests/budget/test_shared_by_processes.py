"""The proof: many real processes, both databases, and the simulator's own log as the judge."""

import time

import pytest

from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline_tests.budget.crew import Crew, most_in_a_minute

LIMIT = 96
WORKERS = range(16)
# From when the window is full: in the next minute and a bit each of its places is used once more.
SECONDS = 62.5


@pytest.fixture
def simulator():
    """Without a limit of its own, so that its log shows everything that was sent."""
    with Simulator(MarketModel(seed=1)) as running:
        yield running


@pytest.mark.slow
def test_sixteen_processes_use_the_whole_limit_never_more_and_share_it_fairly(
    database, simulator, record_property
):
    """In different time zones, both of the processes and of their database sessions."""
    with Crew(database, simulator, LIMIT) as crew:
        crew.start(*WORKERS)
        _wait_for(lambda: len(simulator.requests) == LIMIT, seconds=40)
        time.sleep(SECONDS)
        times, served = crew.times(), crew.by_worker()
    assert most_in_a_minute(times) <= LIMIT
    full = times[LIMIT - 1]
    throughput = sum(full < moment <= full + SECONDS for moment in times) / (LIMIT * SECONDS / 60)
    fairness = min(served[worker] for worker in WORKERS) / max(served.values())
    record_property("throughput", throughput)
    record_property("fairness", fairness)
    assert throughput >= 0.95
    assert fairness >= 0.5


@pytest.mark.slow
def test_killed_processes_neither_break_the_limit_nor_keep_it_from_the_others(
    database, simulator, record_property
):
    """Killed while they wait, while they ask, and in the middle of a transaction; each kill may cost
    one request that was granted and never sent, and its place in the queue for some seconds."""
    with Crew(database, simulator, LIMIT) as crew:
        crew.start(*WORKERS)
        killed = crew.replace_at_random(WORKERS, seconds=72, every=2)
        times, served = crew.times(), crew.by_worker()
    assert most_in_a_minute(times) <= LIMIT
    record_property("throughput", len(times) / (2 * LIMIT))
    record_property("killed", killed)
    assert len(times) >= 0.95 * 2 * LIMIT - killed
    assert set(served) == set(WORKERS)


@pytest.mark.slow
def test_a_pause_asked_of_one_process_stops_all_and_those_that_start_later(database, simulator):
    pause, late = 8, 99
    with Crew(database, simulator, 600) as crew:
        crew.start(*WORKERS)
        _wait_for(lambda: len(simulator.requests) > 30)
        simulator.add_fault(Fault(kind="status", status=429, retry_after=pause, times=1))
        _wait_for(lambda: any(sent.status == 429 for sent in simulator.requests))
        crew.start(late)
        _wait_for(lambda: crew.by_worker()[late] > 2, seconds=40)
        asked = next(sent.time.timestamp() for sent in simulator.requests if sent.status == 429)
        times = crew.times()
    # Those that were under way when the answer came arrive within a second.
    assert [moment for moment in times if asked + 1 < moment < asked + pause] == []
    assert [moment for moment in times if asked + pause <= moment < asked + pause + 5]


def _wait_for(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)
