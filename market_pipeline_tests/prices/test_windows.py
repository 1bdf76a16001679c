"""The fewest requests for a set of days, and the runs that make them."""

from collections import Counter
from collections.abc import Iterable
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.core.slices import DayOfSymbol, Slice
from market_pipeline.prices.windows import Repair, plan_repairs, windows

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
FIRST = date(2025, 1, 1)


def stretch(days: int, symbols: Iterable[str] = ("BTC",), first: int = 0) -> list[DayOfSymbol]:
    return [(FIRST + timedelta(days=first + n), symbol) for n in range(days) for symbol in symbols]


@pytest.mark.parametrize(("days", "requests"), [(0, 0), (1, 1), (90, 1), (91, 2), (365, 5), (366, 5)])
def test_a_stretch_of_days_costs_the_fewest_requests(days: int, requests: int) -> None:
    assert len(windows(stretch(days))) == requests


@pytest.mark.parametrize(("distance", "requests"), [(89, 1), (90, 2)])
def test_no_window_is_longer_than_ninety_days(distance: int, requests: int) -> None:
    """A longer one would be answered with one price a day."""
    assert len(windows([(FIRST, "BTC"), (FIRST + timedelta(days=distance), "BTC")])) == requests


def test_days_in_between_are_bridged_and_another_symbol_starts_a_window_of_its_own() -> None:
    wanted = [(date(2025, 1, 3), "BTC"), (date(2025, 1, 1), "BTC"), (date(2025, 1, 2), "ETH")]
    assert windows(wanted) == [
        Slice("BTC", date(2025, 1, 1), date(2025, 1, 3)),
        Slice("ETH", date(2025, 1, 2), date(2025, 1, 2)),
    ]


def fewest(wanted: set[DayOfSymbol], longest: int) -> int:
    """Count from the oldest day on: each window begins at the first day that none covers yet."""
    count = 0
    for symbol in SYMBOLS:
        covered_until = date.min
        for day in sorted(day for day, of in wanted if of == symbol):
            if day > covered_until:
                count += 1
                covered_until = day + timedelta(days=longest - 1)
    return count


days_sets = st.sets(st.tuples(st.dates(FIRST, FIRST + timedelta(days=40)), st.sampled_from(SYMBOLS)))
blocks = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 400), st.integers(0, 4), st.integers(1, 5)), max_size=3
).map(lambda found: {
    day for first, length, position, count in found
    for day in stretch(length, SYMBOLS[position : position + count], first)
})


@given(
    st.tuples(days_sets, st.integers(1, 12), st.integers(1, 30)) | st.tuples(blocks, st.just(90), st.just(450))
)
def test_any_days_are_covered_once_with_the_fewest_requests(given_days: tuple[set[DayOfSymbol], int, int]) -> None:
    days, longest, largest = given_days
    found = windows(days, longest)
    assert len(found) == fewest(days, longest)
    assert all({(window.first, window.symbol), (window.last, window.symbol)} <= days for window in found)
    repairs = plan_repairs(days, SYMBOLS, longest, largest)
    covered = Counter(day for repair in repairs for day in stretch(
        repair.days, repair.symbols, (repair.first - FIRST).days
    ))
    assert set(covered) >= days and set(covered.values()) <= {1}
    assert all(repair.days <= longest and repair.partitions <= largest for repair in repairs)
    assert sum(repair.requests for repair in repairs) == fewest(days, min(longest, largest))
    assert [repair.last for repair in repairs] == sorted((repair.last for repair in repairs), reverse=True)
    for repair in repairs:
        first = SYMBOLS.index(repair.symbols[0])
        assert SYMBOLS[first : first + len(repair.symbols)] == repair.symbols, "neighbours"
        edges = {(day, symbol) for day in (repair.first, repair.last) for symbol in repair.symbols}
        assert edges <= days, "no request begins or ends with a day that lacks nothing"


@pytest.mark.parametrize("count", [5, 50])
def test_a_year_costs_five_requests_a_symbol_in_runs_of_at_most_450_partitions(count: int) -> None:
    symbols = [f"C{number}" for number in range(count)]
    repairs = plan_repairs(stretch(365, symbols), symbols)
    assert sum(repair.requests for repair in repairs) == 5 * count
    assert max(repair.partitions for repair in repairs) <= 450


def test_thirty_days_of_all_symbols_are_one_run() -> None:
    """The first start: one run, five requests."""
    (repair,) = plan_repairs(stretch(30, SYMBOLS), SYMBOLS)
    assert repair == Repair(FIRST, FIRST + timedelta(days=29), SYMBOLS)
    assert str(repair) == "2025-01-01 to 2025-01-30 of BTC, ETH, SOL, ADA, DOT"


def test_symbols_that_are_not_neighbours_are_runs_of_their_own() -> None:
    """A range of Dagster's partitions would cover those between them, which are complete."""
    repairs = plan_repairs([(FIRST, "BTC"), (FIRST, "SOL"), (FIRST, "ADA")], SYMBOLS)
    assert [repair.symbols for repair in repairs] == [("BTC",), ("SOL", "ADA")]


def test_a_symbol_that_is_not_collected_is_refused() -> None:
    with pytest.raises(ValueError, match="PEPE is not among BTC, ETH"):
        plan_repairs([(FIRST, "PEPE")], SYMBOLS)
