"""Volatility: the formula, its memory, and what it does with unchanged and crowded quotes."""

import math

import numpy as np
import pytest

from market_pipeline.anomalies.volatility import (
    SHORTEST_INTERVAL_SECONDS, WARM_UP_RETURNS, changed_returns, expected_moves, volatility_before,
)


def slow_volatility(series, position):
    """The definition, written out: all earlier returns, each with its weight."""
    quotes = [(series.time(0), series.prices[0])]
    for index in range(1, len(series)):
        if series.prices[index] != quotes[-1][1]:
            quotes.append((series.time(index), series.prices[index]))
    squares = [
        math.log(after / before) ** 2 / max((end - start).total_seconds(), SHORTEST_INTERVAL_SECONDS)
        for (start, before), (end, after) in zip(quotes, quotes[1:], strict=False)
    ][:position]
    weights = [0.94 ** (position - 1 - index) for index in range(position)]
    return math.sqrt(sum(w * s for w, s in zip(weights, squares, strict=True)) / sum(weights))


def test_it_equals_the_definition_written_out(walk):
    seconds = np.cumsum(np.random.default_rng(2).uniform(20, 900, 120))
    irregular = walk(seconds)
    volatility = volatility_before(changed_returns(irregular))
    for position in (WARM_UP_RETURNS, 50, 118):
        assert volatility[position] == pytest.approx(slow_volatility(irregular, position), rel=1e-9)


def test_it_is_unknown_until_thirty_returns_have_been_seen(walk):
    volatility = volatility_before(changed_returns(walk(np.arange(40) * 300)))
    assert np.isnan(volatility[:30]).all()
    assert np.isfinite(volatility[30:]).all()


def test_it_finds_the_volatility_of_a_simulated_walk_at_any_spacing(walk):
    """It is a rate in clock time, so hourly and 5-minute quotes of one coin must agree."""
    truth = 0.6 / math.sqrt(365 * 86_400)
    for spacing in (300, 3600):
        volatility = volatility_before(changed_returns(walk(np.arange(3000) * spacing)))[30:]
        assert np.sqrt(np.mean(volatility**2)) == pytest.approx(truth, rel=0.05)


def test_unchanged_quotes_are_skipped_and_their_time_is_carried(series):
    returns = changed_returns(series([100, 100, 100, 101, 101, 102], [0, 300, 600, 900, 1200, 1500]))
    assert returns.before.tolist() == [0, 3]
    assert returns.after.tolist() == [3, 5]
    assert returns.seconds.tolist() == [900, 600]


def test_repeating_quotes_changes_nothing(walk, series):
    plain = walk(np.arange(60) * 600)
    seconds = np.arange(120) * 300
    repeated = series(np.repeat(plain.prices, 2), seconds)
    expected = volatility_before(changed_returns(plain))
    assert volatility_before(changed_returns(repeated)) == pytest.approx(expected, nan_ok=True)


def test_quotes_closer_than_a_minute_count_as_a_minute_apart(series):
    """Two prints a millisecond apart say nothing about the volatility of a second."""
    returns = changed_returns(series([100, 100.01, 100.02], [0, 0.001, 30]))
    assert returns.seconds.tolist() == [60, 60]


def test_the_expected_move_grows_with_the_square_root_of_time():
    hour, four_hours = expected_moves(np.array([1e-5, 1e-5]), np.array([3600.0, 4 * 3600.0]))
    assert math.log1p(four_hours) == pytest.approx(2 * math.log1p(hour))
    assert hour == pytest.approx(math.expm1(1e-5 * 60))


def test_the_expected_move_is_unknown_where_volatility_is_and_finite_elsewhere():
    unknown, huge = expected_moves(np.array([np.nan, 1e6]), np.array([300.0, 1e6]))
    assert math.isnan(unknown)
    assert math.isfinite(huge)


@pytest.mark.parametrize("prices", [[], [100.0], [100.0, 100.0]])
def test_a_series_without_a_change_has_no_returns(series, prices):
    returns = changed_returns(series(prices, [300 * index for index in range(len(prices))]))
    assert len(returns.log_return) == 0
    assert len(volatility_before(returns)) == 0
