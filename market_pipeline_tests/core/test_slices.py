"""Days of symbols as the fewest slices."""

from datetime import date, datetime, timezone
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days

DAYS = st.dates(min_value=date(2026, 1, 1), max_value=date(2026, 1, 20))


def test_a_slice_spans_whole_utc_days() -> None:
    one = Slice("BTC", date(2026, 2, 28), date(2026, 3, 1))
    assert one.start == datetime(2026, 2, 28, tzinfo=timezone.utc)
    assert one.end == datetime(2026, 3, 2, tzinfo=timezone.utc)
    assert one.days == [date(2026, 2, 28), date(2026, 3, 1)]


@given(st.sets(st.tuples(DAYS, st.sampled_from(["BTC", "ETH"]))))
def test_merging_covers_exactly_the_days_with_the_fewest_slices(days: set[DayOfSymbol]) -> None:
    slices = merge_days(days)
    covered = [(day, part.symbol) for part in slices for day in part.days]
    assert sorted(covered) == sorted(days)
    for earlier, later in pairwise(slices):
        assert earlier.symbol != later.symbol or (later.first - earlier.last).days > 1
