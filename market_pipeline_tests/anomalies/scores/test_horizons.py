"""Large moves against a version that looks at every pair of quotes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.horizons import large_moves
from market_pipeline.anomalies.scores.returns import Returns, returns_of
from market_pipeline.anomalies.series import Floats, PriceSeries
from market_pipeline_tests.anomalies.quotes import series

START = np.datetime64("2023-06-01", "us")
steps = st.sampled_from([1, 30, 60, 300, 899, 900, 901, 3_600, 14_400, 86_400, 200_000])
gaps = steps | st.integers(1, 7_200)
prices = st.sampled_from([100.0, 101.0, 99.0]) | st.floats(50, 200)


@st.composite
def any_returns(draw: st.DrawFn) -> Returns:
    seconds = np.cumsum(draw(st.lists(gaps, min_size=1, max_size=40)))
    values = draw(st.lists(prices, min_size=len(seconds), max_size=len(seconds)))
    times = START + seconds * np.timedelta64(1_000_000, "us")
    return returns_of(PriceSeries("BTC", times, np.array(values)))


def pairwise(returns: Returns, path: Floats, index: int) -> tuple[float, set[tuple[int, float]]]:
    """The largest squared move per minute until a quote, and the start and horizon of each that large."""
    minutes = returns.minutes
    starts = [(int(returns.before[index]), 0.0)]
    for horizon in PARAMETERS.horizons:
        known = [other for other in range(index + 1) if minutes[other] <= minutes[index] - horizon]
        starts.append((known[-1] if known else -1, horizon))
    squares = {
        (start, horizon): (path[index] - path[start]) ** 2 / max(minutes[index] - minutes[start], 1.0)
        for start, horizon in starts
        if start >= 0
    }
    largest = max(squares.values(), default=0.0)
    return largest, {key for key, square in squares.items() if square == largest}


@settings(max_examples=50, deadline=None)
@given(any_returns(), st.integers(0, 10))
def test_moves_are_the_largest_over_all_horizons(returns: Returns, seed: int) -> None:
    size = len(returns.minutes)
    rng = np.random.default_rng(seed)
    slow, market = np.exp(rng.standard_normal(size)), np.cumsum(rng.standard_normal(size))
    found = large_moves(returns, slow, market)
    for index in range(size):
        largest, where = pairwise(returns, returns.log_price, index)
        assert found.score[index] == pytest.approx(np.sqrt(largest) / slow[index], rel=1e-12)
        if largest > 0:
            assert (found.before[index], found.horizon[index]) in where
        else:
            assert found.before[index] == -1
        assert found.market[index] == pytest.approx(np.sqrt(pairwise(returns, market, index)[0]), rel=1e-12)


@settings(max_examples=20, deadline=None)
@given(any_returns(), st.integers(0, 40))
def test_looking_later_finds_the_same_from_there_on(returns: Returns, first: int) -> None:
    first = min(first, len(returns.minutes))
    slow, market = np.ones(len(returns.minutes)), 3 * returns.log_price
    whole, late = large_moves(returns, slow, market), large_moves(returns, slow, market, first)
    for name in ("score", "before", "horizon", "market"):
        assert np.array_equal(getattr(late, name)[first:], getattr(whole, name)[first:])
    assert (late.score[:first] == 0).all() and (late.before[:first] == -1).all()


def test_a_slow_slide_is_large_though_none_of_its_steps_is() -> None:
    """Four hours downhill, each five minutes by less than half a standard deviation."""
    returns = returns_of(series(100 * np.exp(-0.0005 * np.arange(48)), np.arange(48) * 300))
    found = large_moves(returns, np.full(48, 0.0005), np.zeros(48))
    assert found.score[1] == pytest.approx(1 / np.sqrt(5))
    # An hour of it is twelve steps, and four hours are not there yet.
    assert (found.score[47], found.horizon[47]) == (pytest.approx(12 / np.sqrt(60)), 60.0)


def test_the_move_starts_at_the_last_quote_before_the_horizon() -> None:
    prices = [100, 100.1, 100.2, 110, 110.1]
    returns = returns_of(series(prices, [0, 300, 600, 1_260, 1_500]))
    found = large_moves(returns, np.full(5, 1e-3), np.zeros(5))
    # 1,500 s less 15 minutes is 600 s exactly.
    assert (found.before[4], found.horizon[4]) == (2, 15.0)
