"""The market as a coin sees it: medians of others, what is left without them, and who they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.market import Era, PeerMoves, market_eras, median, path_of, peer_moves
from market_pipeline.anomalies.scores.residuals import Residuals, residuals
from market_pipeline.anomalies.scores.returns import Returns, returns_of
from market_pipeline.anomalies.series import Floats, PriceSeries
from market_pipeline_tests.anomalies.quotes import Numbers, series

SIGMA = 0.001  # per square root of a minute


def coins(**quotes: tuple[Numbers, Numbers]) -> dict[str, Returns]:
    """Coins by name, each of (log prices in units of SIGMA, minutes)."""
    return {
        symbol: returns_of(series(100 * np.exp(SIGMA * np.array(logs)), np.array(minutes) * 60, symbol))
        for symbol, (logs, minutes) in quotes.items()
    }


def seen_by(symbol: str, coins: dict[str, Returns]) -> PeerMoves:
    """The view of one coin, all with standard deviation SIGMA."""
    paths = {other: path_of(returns, SIGMA**2 * returns.step) for other, returns in coins.items()}
    own = coins[symbol]
    return peer_moves(symbol, own, own.log_return / (SIGMA * np.sqrt(own.elapsed)), market_eras(paths))


values = st.floats(-1e6, 1e6) | st.just(np.nan)


@given(
    st.integers(2, 9).flatmap(
        lambda coins: st.lists(st.lists(values, min_size=coins, max_size=coins), min_size=1, max_size=9)
    )
)
def test_the_median_is_that_of_numpy_where_two_or_more_are_known(rows: list[str]) -> None:
    table = np.array(rows)
    found = median(list(table.T), 2)
    for value, row in zip(found, table, strict=True):
        known = row[np.isfinite(row)]
        assert np.isnan(value) if len(known) < 2 else value == pytest.approx(np.median(known), rel=1e-12)


def test_the_market_is_the_median_of_the_others_in_their_own_deviations() -> None:
    grid = [0, 4, 8]
    others = {"ETH": ([0, 2, 10], grid), "SOL": ([0, 6, 0], grid), "ADA": ([0, 8, 6], grid)}
    found = seen_by("BTC", coins(BTC=([0, 1, 0], grid), **others))
    assert np.isnan(found.z[0])
    # 2, 6 and 8 sigma of a minute over two roots of a minute.
    assert found.z[1] == pytest.approx(3)
    assert found.z[2] == pytest.approx(-1)
    assert found.peers_moved.tolist() == [0, 2, 1]


def test_one_coin_that_jumps_alone_does_not_move_the_market_of_others() -> None:
    ends = {"BTC": 1.0, "ETH": 0.5, "SOL": -0.5, "ADA": 1.0}
    quiet: dict[str, tuple[Numbers, Numbers]] = {symbol: ([0, end], [0, 4]) for symbol, end in ends.items()}
    jumped = {**quiet, "SOL": ([0, -200], [0, 4])}
    for symbol in ("BTC", "ETH", "ADA"):
        assert abs(seen_by(symbol, coins(**jumped)).z[1] - seen_by(symbol, coins(**quiet)).z[1]) <= 0.25
    assert seen_by("SOL", coins(**jumped)).z[1] == seen_by("SOL", coins(**quiet)).z[1]


def test_peers_count_only_when_they_move_the_same_way() -> None:
    grid = [0, 1]
    others = {"ETH": ([0, -3], grid), "SOL": ([0, -2], grid), "ADA": ([0, 5], grid)}
    found = seen_by("BTC", coins(BTC=([0, -9], grid), **others))
    assert found.peers_moved[1] == 2


def test_others_are_read_at_their_last_quotes_before_the_interval_and_in_it() -> None:
    found = seen_by(
        "BTC",
        coins(
            BTC=([0, 1, 2], [10, 14, 18]),
            # From minute 9 to 13.9: 3 in 4.9 minutes; the quote at 18.1 is not known yet.
            ETH=([0, 0, 3, 99], [1, 9, 13.9, 18.1]),
            # From minute 10 to 14, both borders belonging to what is known then.
            SOL=([5, 6, 9, 50], [8, 10, 14, 19]),
            ADA=([0, 9, -9], [10, 11, 20]),
        ),
    )
    eth, sol, ada = 3 / np.sqrt(12.9), 3 / 2, 9
    assert found.z[1] == found.middle[1] == pytest.approx(sol) and eth < sol < ada
    assert found.square[1] == pytest.approx((eth**2 + sol**2 + ada**2) / 3)
    shared = [3.9 / np.sqrt(12.9 * 4), 4 / 4, 1 / np.sqrt(1 * 4)]
    assert found.overlap[1] == pytest.approx(np.mean(shared))
    # None had another quote until minute 18.
    assert np.isnan(found.z[2]) and found.middle[2] == found.overlap[2] == 0


def test_two_other_coins_are_no_market() -> None:
    """Their median is their mean, which one that jumps alone moves; a third coin is not quoted at that time."""
    small, jump = ([0, 0.1], [0, 1]), ([0, 30], [0, 1])
    found = seen_by("BTC", coins(BTC=small, ETH=jump, SOL=small, ADA=([0, 9], [2, 3])))
    assert np.isnan([found.z[1], found.square[1]]).all() and found.peers_moved[1] == 0


def test_unchanged_quotes_of_others_are_no_moves() -> None:
    """A feed that repeats itself must not count as a market that stands still."""
    grid = [0, 4, 8, 12]
    others = {"ETH": ([0, 0, 0, 6], grid), "SOL": ([0, 2, 4, 6], grid), "ADA": ([0, 4, 8, 12], grid)}
    found = seen_by("BTC", coins(BTC=([0, 1, 2, 3], grid), **others))
    assert np.isnan(found.z[1:3]).all()
    # The change took all twelve minutes; the others moved by 1 and 2.
    assert found.z[3] == pytest.approx(6 / np.sqrt(12))


def test_a_coin_whose_quotes_stop_is_no_peer() -> None:
    grid = [0, 4, 8, 12]
    others = {symbol: ([0, 2, 4, 9], grid) for symbol in ("ETH", "SOL", "DOT")}
    found = seen_by("BTC", coins(BTC=([0, 1, 2, 9], grid), ADA=([0, 7], grid[:2]), **others))
    assert found.square[1] == pytest.approx((3 * 1**2 + 3.5**2) / 4)
    assert found.square[3] == pytest.approx(2.5**2) and found.peers_moved.tolist() == [0, 1, 0, 3]


def test_an_unchanged_own_quote_looks_back_to_the_last_changed_one() -> None:
    grid = [0, 4, 8]
    others: dict[str, tuple[Numbers, Numbers]] = dict.fromkeys(("ETH", "SOL", "ADA"), ([0, 2, 6], grid))
    found = seen_by("BTC", coins(BTC=([0, 0, 1], grid), **others))
    assert found.z[2] == pytest.approx(6 / np.sqrt(8))


def test_one_grid_and_quotes_a_little_apart_give_nearly_the_same() -> None:
    """The short cut for a common grid computes what the general way does."""
    logs = np.cumsum(np.random.default_rng(1).standard_normal((4, 300)) * 2, axis=1)
    grid = np.arange(300) * 5.0
    names = ("BTC", "ETH", "SOL", "ADA")
    rows = dict(zip(names, logs, strict=True))
    together = seen_by("BTC", coins(**{name: (row, grid) for name, row in rows.items()}))
    late = {name: grid + (name == "BTC") * 1e-6 for name in names}
    apart = seen_by("BTC", coins(**{name: (row, late[name]) for name, row in rows.items()}))
    assert apart.z[1:] == pytest.approx(together.z[1:], rel=1e-5)


def residuals_of(own: Numbers, market: Numbers) -> Residuals:
    """Quotes five minutes apart, with the other coins around the market as a coin with beta 1 would be."""
    return residuals(np.array(own), peers_at(market), np.full(len(own), 5.0))


def peers_at(market: Numbers, square: Numbers | None = None, overlap: float = 1.0) -> PeerMoves:
    """Other coins whose median is known."""
    middle = np.array(market)
    squares = middle**2 if square is None else np.array(square)
    return PeerMoves(middle, np.zeros(len(middle)), middle, squares, np.full(len(middle), overlap))


@pytest.mark.parametrize("beta", [0.2, 1.3])
def test_beta_is_learned(beta: float) -> None:
    rng = np.random.default_rng(1)
    market = rng.standard_normal(3_000)
    found = residuals_of(beta * market + 0.5 * rng.standard_normal(3_000), market)
    assert found.beta[0] == PARAMETERS.beta_prior
    assert found.beta[1_500:].mean() == pytest.approx(beta, abs=0.05)


def test_beta_forgets_half_in_three_days() -> None:
    rng = np.random.default_rng(2)
    days = np.repeat([1.0, 0.0], 288 * 12)
    market = rng.standard_normal(len(days))
    found = residuals_of(days * market + 0.3 * rng.standard_normal(len(days)), market)
    assert found.beta[288 * 12] == pytest.approx(1, abs=0.05)
    assert found.beta[288 * 15] == pytest.approx(0.5, abs=0.08)


def test_a_residual_is_in_its_own_deviations() -> None:
    rng = np.random.default_rng(3)
    market = rng.standard_normal(5_000)
    found = residuals_of(0.8 * market + 0.4 * rng.standard_normal(5_000), market)
    # Residuals beyond three deviations count as three, which makes the scale a little small.
    assert found.z[500:].std() == pytest.approx(1, abs=0.05)
    p = 10 ** -found.score[500:]
    assert (p < 0.1).mean() == pytest.approx(0.1, rel=0.15)
    # Its tail allows for a scale that is not known exactly.
    assert 0.002 < (p < 0.01).mean() <= 0.01


def test_one_wild_quote_moves_neither_beta_nor_scale_much() -> None:
    rng = np.random.default_rng(4)
    market = rng.standard_normal(2_000)
    own = 0.8 * market + 0.4 * rng.standard_normal(2_000)
    wild_own, wild_market = own.copy(), market.copy()
    wild_own[1_000], wild_market[1_000] = 500.0, -300.0
    calm, wild = residuals_of(own, market), residuals_of(wild_own, wild_market)
    assert wild.beta[1_001:] == pytest.approx(calm.beta[1_001:], abs=0.05)
    assert wild.z[1_001:1_100] == pytest.approx(calm.z[1_001:1_100], rel=0.2, abs=0.3)


def test_a_residual_counts_for_less_while_the_others_move() -> None:
    """Coins follow a fast market in different proportions, which is no move of their own."""
    calm, wild = np.full(300, 0.5), np.full(300, 0.5)
    wild[-1] = 8.0
    own = np.random.default_rng(5).standard_normal(300) * 0.3
    own[-1] = 4.0
    still, moving = (
        residuals(own, peers_at(np.zeros(300), others**2), np.full(300, 5.0)).z[-1] for others in (calm, wild)
    )
    assert moving == pytest.approx(still * np.sqrt((1 + 0.5**2) / (1 + 8**2)))


@pytest.mark.parametrize("minutes", [60.0, 1_440.0])
def test_the_scale_of_rare_quotes_does_not_rest_on_the_last_one(minutes: float) -> None:
    """Half-lives of minutes would leave nothing of the quotes before it."""
    rng = np.random.default_rng(6)
    market = rng.standard_normal(2_000)
    own = 0.8 * market + 0.4 * rng.standard_normal(2_000) * np.sqrt(1 + market**2)
    found = residuals(own, peers_at(market), np.full(2_000, minutes)).z[200:]
    assert found.std() == pytest.approx(1, abs=0.1) and abs(found).max() < 6


def test_the_market_that_is_not_seen_yet_widens_a_residual() -> None:
    """The first coin of a collection sees no other: its move may be the market's."""
    nothing = np.zeros(2)
    seen, unseen, half = (
        residuals(np.full(2, 3.0), peers_at(nothing, overlap=overlap), np.full(2, 5.0)).z[0] for overlap in (1, 0, 0.6)
    )
    variance, beta = PARAMETERS.residual_variance, PARAMETERS.beta_prior
    assert seen == pytest.approx(3 / np.sqrt(variance))
    assert unseen == pytest.approx(3 / np.sqrt(variance + beta**2))
    assert half == pytest.approx(3 / np.sqrt(variance + beta**2 * (1 - 0.6**2)))


def test_where_the_market_is_not_known_nothing_is_left_of_it() -> None:
    found = residuals_of([1.0, 5.0, 0.0, 2.0], [1.0, np.nan, 1.0, 1.0])
    assert np.isnan([found.z[1], found.beta[1]]).all() and found.score[1] == 0
    # An unchanged quote scores nothing, and neither teaches.
    assert found.score[2] == 0
    assert found.beta[3] == found.beta[2] != found.beta[0]


def coins_of(eras: list[Era], minute: float) -> list[str]:
    """The coins of the era of that minute."""
    return list([era.coins for era in eras if era.start <= minute][-1])


def paths_from(first_minutes: Mapping[str, float]) -> tuple[list[Era], float]:
    quoted = coins(**{symbol: ([0, 1], [first, first + 60]) for symbol, first in first_minutes.items()})
    start = 19_509 * 1_440
    return market_eras({symbol: path_of(returns, returns.step) for symbol, returns in quoted.items()}), start


def test_the_largest_coins_make_up_the_market_and_the_others_by_name() -> None:
    symbols = ["ZZZ", "AAA", "ETH", "BTC", "B1", "B2", "B3", "B4", "B5", "B6"]
    eras, start = paths_from(dict.fromkeys(symbols, 0))
    assert len(eras) == 1
    assert coins_of(eras, start) == ["BTC", "ETH", "AAA", "B1", "B2", "B3", "B4", "B5"]
    eras, _ = paths_from({f"C{number}": number for number in range(8)})
    assert len(eras) == 1 and len(eras[0].coins) == 8, "no more than make up the market, whenever they come"


def test_a_large_coin_that_comes_later_is_in_the_market_only_from_then_on() -> None:
    """It was unknown before, so scores from before must not depend on it."""
    first = {**{f"C{number}": 0 for number in range(8)}, "BTC": 30, "C0x": 40, "Z": 50}
    eras, start = paths_from(first)
    assert coins_of(eras, start + 29) == [f"C{number}" for number in range(8)]
    assert coins_of(eras, start + 30) == ["BTC", *(f"C{number}" for number in range(7))]
    assert coins_of(eras, start + 60) == ["BTC", "C0", "C0x", *(f"C{number}" for number in range(1, 6))]
    assert len(eras) == 3


def test_hourly_quotes_far_apart_are_no_market() -> None:
    """A coin quoted at the full hour would be compared with what the others did in the hour before."""
    hours = 60.0 * np.arange(4)

    def market_of_btc(late: float) -> Floats:
        minutes = {"BTC": hours, **dict.fromkeys(("ETH", "SOL", "ADA"), hours - late)}
        paths = {symbol: path_of(returns_of(series_at(at, symbol)), np.full(4, 1e-4)) for symbol, at in minutes.items()}
        return peer_moves("BTC", returns_of(series_at(hours, "BTC")), np.ones(4), market_eras(paths)).z

    assert np.isnan(market_of_btc(50)).all()
    assert np.isfinite(market_of_btc(10)[1:]).all()


def series_at(minutes: NDArray[Any], symbol: str) -> PriceSeries:
    start = np.datetime64("2026-11-01T06:00", "us")
    times = start + (minutes * 60e6).astype("timedelta64[us]")
    return PriceSeries(symbol, times, np.arange(100.0, 100.0 + len(minutes), dtype=np.float64))
