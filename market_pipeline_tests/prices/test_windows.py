"""The fewest requests for a set of days."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.core.slices import Slice
from market_pipeline.prices.windows import windows

FIRST = date(2025, 1, 1)


def stretch(days: int, symbol: str = "BTC") -> list[tuple[date, str]]:
    return [(FIRST + timedelta(days=n), symbol) for n in range(days)]


@pytest.mark.parametrize(("days", "requests"), [(0, 0), (1, 1), (90, 1), (91, 2), (365, 5), (366, 5)])
def test_a_stretch_of_days_costs_the_fewest_requests(days: int, requests: int) -> None:
    assert len(windows(stretch(days))) == requests


def test_days_in_between_are_bridged_and_another_symbol_starts_a_window_of_its_own() -> None:
    wanted = [(date(2025, 1, 3), "BTC"), (date(2025, 1, 1), "BTC"), (date(2025, 1, 2), "ETH")]
    assert windows(wanted) == [
        Slice("BTC", date(2025, 1, 1), date(2025, 1, 3)),
        Slice("ETH", date(2025, 1, 2), date(2025, 1, 2)),
    ]


@pytest.mark.parametrize(("distance", "requests"), [(89, 1), (90, 2)])
def test_no_window_is_longer_than_ninety_days(distance: int, requests: int) -> None:
    """A longer one would be answered with one price a day."""
    assert len(windows([(FIRST, "BTC"), (FIRST + timedelta(days=distance), "BTC")])) == requests


@given(st.sets(st.tuples(st.dates(FIRST, FIRST + timedelta(days=400)), st.sampled_from(["BTC", "ETH"]))))
def test_any_days_are_covered_once_by_the_fewest_windows(wanted: set[tuple[date, str]]) -> None:
    found = windows(wanted)
    covered = [(day, window.symbol) for window in found for day in window.days]
    assert len(covered) == len(set(covered))
    assert set(covered) >= wanted
    assert all(1 <= len(window.days) <= 90 for window in found)
    assert all({(window.first, window.symbol), (window.last, window.symbol)} <= wanted for window in found)
    assert len(found) == fewest(wanted)


def fewest(wanted: set[tuple[date, str]]) -> int:
    """Counted from the oldest day on: each window begins at the first day that none holds yet."""
    count = 0
    for symbol in ("BTC", "ETH"):
        held_until = date.min
        for day in sorted(day for day, of in wanted if of == symbol):
            if day > held_until:
                count += 1
                held_until = day + timedelta(days=89)
    return count
