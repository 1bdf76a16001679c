"""Returns between changed quotes: where they start and how long they took."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from market_pipeline.anomalies.scores.hours import hour_sums
from market_pipeline.anomalies.scores.returns import returns_of
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline_tests.anomalies.quotes import series


def test_the_time_of_an_unchanged_quote_is_carried_to_the_next_changed_one() -> None:
    returns = returns_of(series([100.0, 100.0, 100.0, 110.0, 121.0], [0, 60, 240, 300, 420]))
    assert returns.changed.tolist() == [True, False, False, True, True]
    assert returns.before.tolist() == [-1, 0, 0, 0, 3]
    assert returns.elapsed[1:].tolist() == [1.0, 4.0, 5.0, 2.0]
    assert returns.step.tolist() == [0.0, 1.0, 3.0, 1.0, 2.0]
    assert returns.log_return == pytest.approx([0, 0, 0, np.log(1.1), np.log(1.1)])
    assert returns.number.tolist() == [0, 1, 1, 1, 2]


def test_seconds_between_quotes_count_as_a_minute() -> None:
    """Below a minute a difference is rounding or another source rather than diffusion."""
    returns = returns_of(series([100.0, 101.0, 102.0], [0, 1, 91]))
    assert returns.elapsed.tolist() == [1.0, 1.0, 1.5]
    assert returns.step[1] == pytest.approx(1 / 60)


def test_minutes_are_those_since_1970() -> None:
    assert returns_of(series([1.0], [90])).minutes.tolist() == [19_509 * 1_440 + 1.5]


@pytest.mark.parametrize("size", [0, 1])
def test_no_quotes_and_one_quote_have_no_returns(size: int) -> None:
    returns = returns_of(series([7.0][:size], [0.0][:size]))
    assert returns.before.tolist() == [-1][:size]
    assert returns.log_return.tolist() == [0.0][:size]
    assert returns.number.tolist() == [0][:size]


def test_a_change_too_small_for_a_logarithm_is_no_change() -> None:
    """A return of zero has no size: one in a day would make the hour factors of all later days unknown."""
    returns = returns_of(series([100.0, np.nextafter(100.0, 200.0), 101.0], [0, 300, 600]))
    assert returns.changed.tolist() == [True, False, True]
    assert np.isfinite(hour_sums(returns).deviations).all()


prices = st.lists(
    st.one_of(st.sampled_from([1.0, 2.0, 3.0]), st.floats(min_value=5e-324, max_value=1e300)), max_size=30
)


@given(prices)
def test_returns_are_those_of_a_loop_over_the_quotes(values: list[float]) -> None:
    times = np.datetime64("2023-06-01", "us") + np.arange(len(values)) * np.timedelta64(61, "s")
    returns = returns_of(PriceSeries("BTC", times, np.array(values)))
    last = -1
    logs = np.log(np.array(values, dtype=np.float64))
    for index in range(len(values)):
        changed = last < 0 or logs[index] != logs[last]
        assert returns.before[index] == last
        assert returns.changed[index] == changed
        assert returns.log_return[index] == (logs[index] - logs[last] if last >= 0 else 0.0)
        assert (returns.log_return[index] != 0) == (changed and last >= 0)
        if last >= 0:
            assert returns.elapsed[index] == pytest.approx((index - last) * 61 / 60)
        last = index if changed else last
