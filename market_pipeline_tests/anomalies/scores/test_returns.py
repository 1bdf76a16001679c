"""Returns between fresh quotes: where they start, how long they took, and where prices are too coarse."""

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
    assert returns.fresh.tolist() == [True, False, False, True, True]
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
    assert returns.fresh.tolist() == [True, False, True]
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
        assert returns.fresh[index] == changed
        assert returns.log_return[index] == (logs[index] - logs[last] if last >= 0 else 0.0)
        assert (returns.log_return[index] != 0) == (changed and last >= 0)
        if last >= 0:
            assert returns.elapsed[index] == pytest.approx((index - last) * 61 / 60)
        last = index if changed else last


def rounded(deviation: float, size: int = 400, step: float = 0.01, seed: int = 1) -> PriceSeries:
    """A walk around 100 with this deviation (in steps) between quotes five minutes apart."""
    walk = np.cumsum(np.random.default_rng(seed).standard_normal(size)) * deviation
    return series(100 + step * np.round(walk), np.arange(size) * 300)


@pytest.mark.parametrize(("deviation", "coarse"), [(0.3, True), (1.0, True), (5.0, False), (50.0, False)])
def test_an_unchanged_quote_is_news_where_the_price_step_is_coarse(deviation: float, coarse: bool) -> None:
    returns = returns_of(rounded(deviation))
    late = slice(100, None)
    assert (returns.coarse_step[late] > 0).mean() == pytest.approx(float(coarse), abs=0.05)
    if coarse:
        assert returns.fresh[late].mean() > 0.95
        assert np.median(returns.coarse_step[late]) == pytest.approx(1e-4, rel=0.01)
        assert returns.elapsed[late].max() <= 10


def test_a_price_that_has_not_changed_for_a_day_stands_still() -> None:
    returns = returns_of(series(np.ones(300), np.arange(300) * 300))
    assert not returns.fresh[1:288].any() and returns.fresh[288:].all()
    assert set(returns.coarse_step) == {0.0, 1e-3}


@pytest.mark.parametrize("size", [17, 40, 150, 290])
def test_the_price_step_is_known_from_the_past_only(size: int) -> None:
    """Finer prices that come later change nothing before."""
    coarse, fine = rounded(0.7, 290), rounded(0.7, 290, step=0.001, seed=2)
    whole = returns_of(series(np.concatenate([coarse.prices, fine.prices]), np.arange(580) * 300))
    part = returns_of(series(coarse.prices[:size], np.arange(size) * 300))
    for name in ("coarse_step", "fresh", "before", "elapsed"):
        assert np.array_equal(getattr(whole, name)[:size], getattr(part, name))
    assert whole.coarse_step[-1] == pytest.approx(1e-5, rel=0.02)
