"""The plan of repairs: what was asked, in rectangles, with the fewest requests."""

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.prices.windows import Repair, plan_repairs, windows

SYMBOLS = ("BTC", "ETH", "SOL", "ADA", "DOT")
START = date(2025, 1, 1)


def a_year(symbols):
    return [(START + timedelta(days=n), symbol) for n in range(365) for symbol in symbols]


def cells(repair):
    days = [repair.first + timedelta(days=n) for n in range(repair.days)]
    return [(day, symbol) for day in days for symbol in repair.symbols]


asked_days = st.sets(
    st.tuples(st.integers(0, 40).map(lambda n: START + timedelta(days=n)), st.sampled_from(SYMBOLS))
)
long_stretches = st.lists(
    st.tuples(st.integers(0, 500), st.integers(1, 400), st.integers(0, 4), st.integers(1, 5)), max_size=4
).map(
    lambda blocks: {
        (START + timedelta(days=first + n), symbol)
        for first, length, position, count in blocks
        for n in range(length)
        for symbol in SYMBOLS[position : position + count]
    }
)


def assert_plan_is_right(days, repairs, longest, largest):
    covered = Counter(cell for repair in repairs for cell in cells(repair))
    assert set(covered) >= set(days)
    assert set(covered.values()) <= {1}
    assert all(repair.days <= longest for repair in repairs)
    assert all(repair.partitions <= largest for repair in repairs)
    assert sum(repair.requests for repair in repairs) == len(windows(days, min(longest, largest)))
    assert [repair.last for repair in repairs] == sorted((repair.last for repair in repairs), reverse=True)
    for repair in repairs:
        first = SYMBOLS.index(repair.symbols[0])
        assert SYMBOLS[first : first + len(repair.symbols)] == repair.symbols, "neighbours"
        assert {(repair.first, symbol) for symbol in repair.symbols} <= set(days), "nothing is asked in vain"
        assert {(repair.last, symbol) for symbol in repair.symbols} <= set(days)


@given(asked_days, st.integers(1, 12), st.integers(1, 30))
def test_any_days_are_covered_once_with_the_fewest_requests(days, longest, largest):
    assert_plan_is_right(days, plan_repairs(days, SYMBOLS, longest, largest), longest, largest)


@given(long_stretches)
def test_long_stretches_are_cut_into_windows_of_ninety_days(days):
    assert_plan_is_right(days, plan_repairs(days, SYMBOLS), 90, 200)


@pytest.mark.parametrize(("count", "requests"), [(5, 25), (50, 250), (250, 1250)])
def test_a_year_costs_five_requests_a_symbol(count, requests):
    symbols = [f"C{number}" for number in range(count)]
    repairs = plan_repairs(a_year(symbols), symbols)
    assert sum(repair.requests for repair in repairs) == requests
    assert max(repair.partitions for repair in repairs) <= 200


def test_thirty_days_of_all_symbols_are_one_run():
    """The first start: one run, five requests."""
    days = [(START + timedelta(days=n), symbol) for n in range(30) for symbol in SYMBOLS]
    assert plan_repairs(days, SYMBOLS) == [Repair(START, START + timedelta(days=29), SYMBOLS)]


def test_symbols_that_do_not_stand_together_are_runs_of_their_own():
    """A range of Dagster's partitions would cover those between them, which are complete."""
    repairs = plan_repairs([(START, "BTC"), (START, "SOL"), (START, "ADA")], SYMBOLS)
    assert [repair.symbols for repair in repairs] == [("BTC",), ("SOL", "ADA")]


def test_a_repair_tells_its_days_and_symbols():
    assert str(Repair(START, date(2025, 1, 3), ("BTC", "ETH"))) == "2025-01-01 to 2025-01-03 of BTC, ETH"


def test_a_symbol_that_is_not_collected_is_refused():
    with pytest.raises(ValueError, match="PEPE is not among BTC, ETH"):
        plan_repairs([(START, "PEPE")], SYMBOLS)
