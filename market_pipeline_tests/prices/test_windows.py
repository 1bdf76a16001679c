"""The fewest requests for a set of days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.prices.windows import windows
from market_pipeline.slices import Slice

FIRST = date(2025, 1, 1)


def stretch(days: int, symbol: str = "BTC") -> list[tuple[date, str]]:
    return [(FIRST + timedelta(days=n), symbol) for n in range(days)]


@pytest.mark.parametrize(("days", "requests"), [(0, 0), (1, 1), (90, 1), (91, 2), (365, 5), (366, 5)])
def test_a_stretch_of_days_costs_the_fewest_requests(days: int, requests: int) -> None:
    assert len(windows(stretch(days))) == requests


def test_a_gap_and_another_symbol_start_a_window_of_their_own() -> None:
    wanted = [(date(2025, 1, 3), "BTC"), (date(2025, 1, 1), "BTC"), (date(2025, 1, 2), "ETH")]
    assert windows(wanted) == [
        Slice("BTC", date(2025, 1, 1), date(2025, 1, 1)),
        Slice("BTC", date(2025, 1, 3), date(2025, 1, 3)),
        Slice("ETH", date(2025, 1, 2), date(2025, 1, 2)),
    ]


@given(st.sets(st.tuples(st.dates(FIRST, FIRST + timedelta(days=400)), st.sampled_from(["BTC", "ETH"]))))
def test_the_windows_cover_exactly_the_days_asked_for(wanted: set[tuple[date, str]]) -> None:
    found = windows(wanted)
    covered = [(day, window.symbol) for window in found for day in window.days]
    assert len(covered) == len(set(covered))
    assert set(covered) == wanted
    assert all(1 <= len(window.days) <= 90 for window in found)
