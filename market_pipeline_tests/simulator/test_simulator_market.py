"""The market model: the same prices in any order and process, plausible, correlated, with jumps."""

import time
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.core.clock import DAY
from market_pipeline.simulator.feed import FIVE_MINUTES, HOUR, last_update
from market_pipeline.simulator.market_model import FIRST_DAY, START_PRICES, MarketModel

NOW = datetime(2026, 11, 23, 12, 0, 30, tzinfo=timezone.utc)


def log_returns(model: MarketModel, coin_id: str, days: int = 120) -> np.ndarray:
    """Hourly, on the exact hours."""
    hours = [NOW - HOUR * n for n in range(days * 24, 0, -1)]
    return np.diff(np.log([model.price(coin_id, at) for at in hours]))


def test_the_same_seed_gives_the_same_prices_in_whatever_order_they_are_asked() -> None:
    moments = [NOW - HOUR * n for n in range(0, 24 * 40, 7)]
    forwards, backwards = MarketModel(), MarketModel()
    expected = {at: forwards.price("solana", at) for at in moments}
    for at in reversed(moments):
        backwards.quote("bitcoin", at)
        assert backwards.price("solana", at) == expected[at]


def test_another_seed_is_another_market() -> None:
    assert MarketModel(seed=1).price("bitcoin", NOW) != MarketModel(seed=2).price("bitcoin", NOW)


def test_prices_do_not_depend_on_which_other_coins_are_served() -> None:
    assert MarketModel(["cardano"]).price("cardano", NOW) == MarketModel().price("cardano", NOW)


def test_history_agrees_with_the_quotes_that_were_given_live(market: MarketModel) -> None:
    for at, price in market.points("ethereum", NOW - HOUR, NOW, FIVE_MINUTES):
        assert market.price("ethereum", at) == price
    price, updated = market.quote("ethereum", NOW) or pytest.fail("no quote")
    assert market.price("ethereum", updated) == price


def test_days_join_without_a_step(market: MarketModel) -> None:
    """A seam at midnight would look like an anomaly every day."""
    for day in range(30):
        midnight = datetime(2026, 10, 1, tzinfo=timezone.utc) + day * DAY
        before = market.price("polkadot", midnight - timedelta(milliseconds=1))
        assert market.price("polkadot", midnight) == pytest.approx(before, rel=1e-6)


@pytest.mark.parametrize("coin_id", ["bitcoin", "polkadot"])
def test_prices_stay_about_their_level_for_years(market: MarketModel, coin_id: str) -> None:
    """Mean-reverting, not fixed: away from the level, but never by a multiple."""
    moments = [NOW - DAY * n for n in range(0, 2500, 100)]
    ratios = [market.price(coin_id, at) / START_PRICES[coin_id] for at in moments]
    assert 0.4 < min(ratios) < 1 < max(ratios) < 2.5


def test_coins_move_together_but_not_alike(market: MarketModel) -> None:
    correlation = np.corrcoef(log_returns(market, "bitcoin"), log_returns(market, "ethereum"))[0, 1]
    assert 0.3 < correlation < 0.9


def test_returns_have_heavy_tails_and_volatility_clusters(market: MarketModel) -> None:
    returns = log_returns(market, "solana")
    assert np.mean((returns - returns.mean()) ** 4) / np.var(returns) ** 2 > 6
    calm = np.clip(np.abs(returns), 0, np.quantile(np.abs(returns), 0.98))
    assert np.corrcoef(calm[:-1], calm[1:])[0, 1] > 0.1


def test_jumps_come_about_weekly_for_each_coin(market: MarketModel) -> None:
    jumps = sum(int(np.sum(np.abs(log_returns(market, coin)) > 0.04)) for coin in START_PRICES)
    per_coin_and_week = jumps / len(START_PRICES) / (120 / 7)
    assert 0.3 < per_coin_and_week < 5


def test_afternoons_are_busier_than_nights(market: MarketModel) -> None:
    returns = np.abs(log_returns(market, "bitcoin")).reshape(-1)
    hours = np.array([(NOW - HOUR * n).hour for n in range(120 * 24, 0, -1)][1:])
    afternoons, nights = returns[(hours >= 14) & (hours < 18)], returns[(hours >= 2) & (hours < 6)]
    assert np.median(afternoons) > 1.2 * np.median(nights)


def test_a_coin_that_is_not_well_known_gets_a_price_from_its_name() -> None:
    model = MarketModel(["pepe", "some-other-coin"])
    prices = [model.price(coin_id, NOW) for coin_id in model.coin_ids]
    assert prices[0] != prices[1]
    assert all(0.0001 < price < 10_000 for price in prices)


def test_a_start_price_can_be_given() -> None:
    model = MarketModel(["pepe"], start_prices={"pepe": 7e-6})
    assert 2e-6 < model.price("pepe", NOW) < 3e-5


def test_a_market_without_coins_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one coin id"):
        MarketModel([])


def test_a_coin_of_another_market_has_no_price(market: MarketModel) -> None:
    with pytest.raises(KeyError, match="dogecoin"):
        market.price("dogecoin", NOW)


def test_nothing_is_known_before_the_first_day(market: MarketModel) -> None:
    first = datetime(FIRST_DAY.year, FIRST_DAY.month, FIRST_DAY.day, tzinfo=timezone.utc)
    assert market.quote("bitcoin", first - HOUR) is None
    assert market.points("bitcoin", first - DAY, first - HOUR, HOUR) == []
    assert market.points("bitcoin", first - DAY, first + DAY, HOUR)[0][0] >= first


def test_quotes_are_renewed_about_every_forty_seconds_and_never_from_the_future() -> None:
    ages, updates = [], set()
    for second in range(1200):
        at = NOW + timedelta(seconds=second)
        updated = last_update("bitcoin", at)
        updates.add(updated)
        ages.append((at - updated).total_seconds())
    assert 0 <= min(ages) and 20 < max(ages) < 60
    assert 25 <= len(updates) <= 35


def test_ninety_days_of_hours_are_cheap_next_to_the_year_before_them(market: MarketModel) -> None:
    """Warm, a window must cost milliseconds, or the demo's first fill would crawl.

    The bound is a ratio to plain arithmetic in the same process, so that a slow machine does not matter.
    """
    market.points("cardano", NOW - 90 * DAY, NOW, HOUR)
    started = time.process_time()
    points = market.points("cardano", NOW - 90 * DAY, NOW, HOUR)
    window = time.process_time() - started
    started = time.process_time()
    sum(float(f"{n * 1.000001:.10g}") for n in range(200_000))
    reference = time.process_time() - started
    assert 2159 <= len(points) <= 2161
    assert window < 3 * reference
