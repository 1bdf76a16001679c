"""The request budget: how many, when, and that it says so."""

import logging
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.coingecko.budget import MinuteBudget, requests_per_minute


class _Time:
    """A clock that only sleeping and `pass_` move."""

    def __init__(self) -> None:
        self.now = 1_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@given(st.integers(1, 7), st.lists(st.floats(0, 90), min_size=1, max_size=40))
def test_no_minute_ever_holds_more_requests_than_the_limit(limit: int, pauses: list[float]) -> None:
    moving = _Time()
    budget = MinuteBudget(limit, moving, moving.sleep)
    granted = []
    for pause in pauses:
        moving.sleep(pause)
        budget.acquire("/ping")
        granted.append(moving.now)
    for first, later in zip(granted, granted[limit:]):
        assert later - first > 60


def test_requests_within_the_limit_do_not_wait_and_the_next_waits_for_the_rest_of_the_minute() -> None:
    moving = _Time()
    budget = MinuteBudget(3, moving, moving.sleep)
    assert [budget.acquire("/ping") for _ in range(3)] == [0, 0, 0]
    moving.sleep(20)
    assert budget.acquire("/ping") == pytest.approx(40.5)


def test_a_wait_is_announced_with_its_length_and_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    moving = _Time()
    budget = MinuteBudget(1, moving, moving.sleep)
    budget.acquire("/ping")
    budget.acquire("/simple/price")
    assert caplog.messages == [
        "Waiting 60.5 s before GET /simple/price: 1 requests a minute are the limit here"
    ]
    assert caplog.records[0].__dict__["wait_seconds"] == 60.5


def test_threads_that_share_a_budget_stay_within_it_together() -> None:
    """Ten threads at once: the clock stands still, so each slept second is one that was granted."""
    slept: list[float] = []
    budget = MinuteBudget(4, lambda: 0.0, slept.append)
    threads = [threading.Thread(target=budget.acquire, args=("/ping",)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == [60.5] * 4 + [121.0] * 2


def test_by_default_it_really_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the real clock and the real sleep, in a window that a test can wait for."""
    monkeypatch.setattr("market_pipeline.coingecko.budget.WINDOW_SECONDS", 0.05)
    budget = MinuteBudget(1)
    started = time.monotonic()
    budget.acquire("/ping")
    assert budget.acquire("/ping") > 0
    assert time.monotonic() - started >= 0.05


def test_a_limit_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="give at least 1"):
        MinuteBudget(0)


def test_every_plan_has_a_limit_of_at_most_100() -> None:
    assert [requests_per_minute(plan) for plan in ("keyless", "demo", "pro")] == [5, 30, 100]
