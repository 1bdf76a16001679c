"""Large moves against a version that looks at every pair of quotes."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.horizons import LargeMoves, MarketMoves, large_moves, scaled_moves
from market_pipeline.anomalies.scores.market import Era, path_of
from market_pipeline.anomalies.scores.returns import Returns, returns_of
from market_pipeline.anomalies.series import Floats, PriceSeries
from market_pipeline_tests.anomalies.quotes import Numbers, series

START = np.datetime64("2023-06-01", "us")
steps = st.sampled_from([1, 30, 60, 300, 899, 900, 901, 3_600, 14_400, 86_400, 200_000])
gaps = steps | st.integers(1, 7_200)
prices = st.sampled_from([100.0, 101.0, 99.0]) | st.floats(50, 200)
SHARE = 0.89  # of a coin's own move where no market is known


@st.composite
def any_returns(draw: st.DrawFn) -> Returns:
    seconds = np.cumsum(draw(st.lists(gaps, min_size=1, max_size=40)))
    values = draw(st.lists(prices, min_size=len(seconds), max_size=len(seconds)))
    times = START + seconds * np.timedelta64(1_000_000, "us")
    return returns_of(PriceSeries("BTC", times, np.array(values)))


def of_market(*coins: Returns, slow: float = 1.0, long: float | None = None) -> list[LargeMoves]:
    """The large moves of each coin of a market."""
    names = "ABCDEFGHI"[: len(coins)]
    scaled = {
        name: scaled_moves(coin, np.full(len(coin.minutes), slow), long or slow)
        for name, coin in zip(names, coins, strict=True)
    }
    paths = {name: path_of(coin, np.ones(len(coin.minutes))) for name, coin in zip(names, coins, strict=True)}
    eras = [Era(float("-inf"), paths)]
    market = MarketMoves(scaled, eras)
    return [large_moves(scaled[name], coin, market) for name, coin in zip(names, coins, strict=True)]


def slide(seconds: Numbers, per_step: float = -0.0005) -> Returns:
    return returns_of(series(100 * np.exp(per_step * np.arange(len(seconds))), seconds))


def pairwise(returns: Returns, slow: Floats, index: int) -> tuple[float, set[tuple[int, float]]]:
    """The largest move up to a quote, and the start and horizon of each that large."""
    minutes, path = returns.minutes, returns.log_price
    starts = [(int(returns.before[index]), 0.0)]
    for horizon in PARAMETERS.horizons:
        known = [other for other in range(index + 1) if minutes[other] <= minutes[index] - horizon]
        starts.append((known[-1] if known else -1, horizon))
    moves = {
        (start, horizon): abs(path[index] - path[start])
        / np.sqrt(max(minutes[index] - minutes[start], 10.0) * slow[index])
        for start, horizon in starts
        if start >= 0
    }
    largest = max(moves.values(), default=0.0)
    return largest, {key for key, move in moves.items() if move == largest}


@settings(max_examples=50, deadline=None)
@given(any_returns(), st.integers(0, 10))
def test_moves_are_the_largest_over_all_horizons(returns: Returns, seed: int) -> None:
    size = len(returns.minutes)
    slow = np.exp(np.random.default_rng(seed).uniform(-1, 1, size))
    found = large_moves(scaled_moves(returns, slow, 1.0), returns, MarketMoves({}, []))
    for index in range(size):
        largest, where = pairwise(returns, slow, index)
        assert found.score[index] == pytest.approx(SHARE * largest, rel=1e-12)
        if largest > 0:
            assert (found.before[index], found.horizon[index]) in where
        else:
            assert found.before[index] == -1
    assert not found.market.any() and not found.market_direction.any()


@pytest.mark.parametrize(
    ("slow", "scale"),
    [(1, 1), (3, 3**0.5), (4.5, 1.5 * 4.5**0.5), (9, 9), (20, 20), (1 / 6, 6**-0.5), (1 / 36, 1 / 36), (0.01, 0.01)],
)
def test_a_coin_that_is_far_from_its_past_is_measured_by_what_it_is(slow: float, scale: float) -> None:
    """A stablecoin that lost its peg, or one that a prior takes for an ordinary coin."""
    moves = scaled_moves(slide([0, 300]), np.full(2, slow), 1.0).moves[0]
    assert abs(moves[1]) == pytest.approx(0.0005 / (10**0.5 * scale))


@settings(max_examples=20, deadline=None)
@given(any_returns(), st.integers(0, 40))
def test_looking_later_finds_the_same_from_there_on(returns: Returns, first: int) -> None:
    first = min(first, len(returns.minutes))
    slow = np.ones(len(returns.minutes))
    whole, late = (
        large_moves(scaled_moves(returns, slow, 1.0, since), returns, MarketMoves({}, [])) for since in (0, first)
    )
    for name in ("score", "before", "horizon", "market"):
        assert np.array_equal(getattr(late, name)[first:], getattr(whole, name)[first:])
    assert (late.score[:first] == 0).all() and (late.before[:first] == -1).all()


def test_a_slow_slide_is_large_though_none_of_its_steps_is() -> None:
    """Four hours downhill, each five minutes by less than half a standard deviation."""
    [found] = of_market(slide(np.arange(48) * 300), slow=0.0005)
    assert found.score[1] == pytest.approx(SHARE / np.sqrt(10))
    # An hour of it is twelve steps, and four hours are not there yet.
    assert (found.score[47], found.horizon[47]) == (pytest.approx(SHARE * 12 / np.sqrt(60)), 60.0)


def test_half_of_the_volatility_scaling_is_that_of_a_year() -> None:
    """The same move in a wild month counts less than in a calm one, but not by as much as the volatility differs."""
    returns = slide(np.arange(48) * 300)
    [calm], [wild] = (of_market(returns, slow=slow, long=0.001) for slow in (0.0005, 0.002))
    assert calm.score[47] / wild.score[47] == pytest.approx(2)


def test_the_market_is_the_median_of_the_coins_and_has_a_direction() -> None:
    seconds = np.arange(48) * 300
    falls, falls_more, rises = slide(seconds), slide(seconds, -0.002), slide(seconds, 0.0005)
    found = of_market(falls, falls_more, rises, slow=0.0005)
    for coin, own in zip(found, (1, 4, 1), strict=True):
        one = 12 / np.sqrt(60)
        assert coin.market[47] == pytest.approx(one)
        assert (coin.market_direction[47], coin.market_horizon[47]) == (-1, 60)
        assert coin.score[47] == pytest.approx(np.sqrt(0.3 * own**2 + 0.7) * one)


def test_a_coin_whose_quotes_stopped_leaves_the_market() -> None:
    seconds = np.arange(48) * 300
    stopped = slide(seconds[:20])
    found = of_market(slide(seconds), slide(seconds), stopped)[0]
    # Its last quote counts for 15 minutes.
    assert found.market_direction[22] == -1 and found.market_direction[23] == 0
    assert found.market[23] == 0


def test_the_move_starts_at_the_last_quote_before_the_horizon() -> None:
    prices = [100, 100.1, 100.2, 110, 110.1]
    [found] = of_market(returns_of(series(prices, [0, 300, 600, 1_260, 1_500])), slow=1e-3)
    # 1,500 s less 15 minutes is 600 s exactly.
    assert (found.before[4], found.horizon[4]) == (2, 15.0)
