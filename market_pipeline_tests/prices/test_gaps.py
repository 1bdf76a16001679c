"""Stretches without a price."""

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.prices.gaps import Interval, gaps, last_settled_day, merged, without

START = datetime(2026, 5, 1, tzinfo=timezone.utc)
HOUR = timedelta(hours=1)


def at(hour: float) -> datetime:
    return START + hour * HOUR


def span(start: float, end: float) -> Interval:
    return Interval(at(start), at(end))


@pytest.mark.parametrize(
    ("times", "expected"),
    [
        ([], [(0, 24)]),
        ([12], [(0, 12), (12, 24)]),
        ([2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22], []),
        ([-5, 30], [(0, 24)]),
        ([23, 10, 2, 9, 1, 10], [(2, 9), (10, 23)]),
    ],
    ids=["nothing", "one", "exactly two hours apart", "all outside", "two gaps, unordered and doubled"],
)
def test_gaps_are_the_stretches_that_are_too_long_edges_included(
    times: list[float], expected: list[tuple[float, float]]
) -> None:
    found = gaps([at(hour) for hour in times], at(0), at(24), 2 * HOUR)
    assert found == [span(*pair) for pair in expected]


hours = st.lists(st.integers(0, 48), max_size=12)
spans = st.tuples(st.integers(0, 40), st.integers(1, 8)).map(lambda pair: span(pair[0], pair[0] + pair[1]))


@given(hours, st.integers(1, 6))
def test_a_stretch_between_neighbours_is_a_gap_if_and_only_if_it_is_too_long(times: list[int], longest: int) -> None:
    found = gaps([at(hour) for hour in times], at(0), at(48), longest * HOUR)
    edges = sorted({at(0), at(48), *map(at, times)})
    assert found == [Interval(one, other) for one, other in pairwise(edges) if other - one > longest * HOUR]


@given(st.lists(spans, max_size=6), st.lists(spans, max_size=6))
def test_cutting_out_leaves_every_half_hour_that_is_not_cut(intervals: list[Interval], cuts: list[Interval]) -> None:
    left = without(intervals, cuts)
    for half_hours in range(100):
        moment = at(half_hours / 2 + 0.25)
        inside = any(one.start < moment < one.end for one in intervals)
        cut = any(one.start < moment < one.end for one in cuts)
        assert any(one.start < moment < one.end for one in left) == (inside and not cut)


@given(st.lists(spans, max_size=8))
def test_merged_intervals_cover_the_same_time_and_never_touch(intervals: list[Interval]) -> None:
    joined = merged(intervals)
    assert all(one.end < other.start for one, other in pairwise(joined))
    assert without(intervals, joined) == [] and without(joined, intervals) == []


@pytest.mark.parametrize(
    ("now", "last"), [("2026-05-03T00:59:59", "2026-05-01"), ("2026-05-03T01:00:00", "2026-05-02")]
)
def test_a_day_is_settled_an_hour_after_its_end(now: str, last: str) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    assert last_settled_day(moment) == date.fromisoformat(last)
