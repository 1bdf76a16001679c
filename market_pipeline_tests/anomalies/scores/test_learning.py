"""Making calibrations: from the past 90 days only, and true for the days after."""

import math
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.calibration import ALL_COINS, Calibration
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR, PARAMETERS
from market_pipeline.anomalies.scores.learning import calibrate_columns, calibrate_with_peaks
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import SCORES
from market_pipeline.core.columns import Columns, to_datetime64
from market_pipeline_tests.anomalies.quotes import as_columns, series

AS_OF = datetime(2023, 6, 1, tzinfo=timezone.utc)
PER_ROOT_MINUTE = 0.6 / math.sqrt(MINUTES_PER_YEAR)


def heavy(
    days: float, after: float = 0, minutes: int = 5, symbols: tuple[str, ...] = ("BTC",), seed: int = 1
) -> Columns:
    """Coins with a common factor and heavy tails: Student's t with 3.5 degrees of freedom.

    Quotes come every `minutes`, from `days` before AS_OF to `after` days after it.
    """
    rng = np.random.default_rng(seed)
    size = int((days + after) * 1_440 / minutes)
    seconds = (np.arange(size) * minutes - days * 1_440) * 60
    common = rng.standard_t(3.5, size)
    coins = []
    for symbol in symbols:
        moves = 0.6 * common + 0.8 * rng.standard_t(3.5, size)
        moves *= PER_ROOT_MINUTE * math.sqrt(minutes) / math.sqrt(3.5 / 1.5)
        coins.append(series(100 * np.exp(np.cumsum(moves)), seconds, symbol))
    return as_columns(*coins)


def before(prices: Columns, moment: datetime) -> Columns:
    return prices.where(prices["timestamp"] < to_datetime64(moment))


def test_only_the_days_of_its_memory_are_known() -> None:
    """Hours, levels and the tails of single returns are those of 90 days, the rest of two years."""
    prices = heavy(735, after=5, minutes=240, symbols=("BTC", "ETH", "SOL"))
    start = to_datetime64(AS_OF - timedelta(days=PARAMETERS.memory_days))
    times = prices["timestamp"]
    inside = prices.where((times >= start) & (times < to_datetime64(AS_OF)))
    assert PARAMETERS.memory_days == 730 and len(inside) == 3 * 730 * 6 < len(prices)
    found = calibrate_columns(prices, AS_OF)
    assert found == calibrate_columns(inside, AS_OF)
    assert found.coins["BTC"].quotes == 90 * 6
    assert found.largest["BTC"].since == (AS_OF - timedelta(days=727)).date()
    assert found.as_of == AS_OF
    assert found != calibrate_columns(prices, AS_OF - timedelta(hours=1))
    elsewhere = AS_OF.astimezone(timezone(timedelta(hours=9)))
    assert calibrate_columns(prices, elsewhere).to_json() == found.to_json()


def test_a_time_without_time_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="has no time zone"):
        calibrate_columns(heavy(1), AS_OF.replace(tzinfo=None))


def test_the_level_and_spread_of_volatility_are_learned() -> None:
    coin = calibrate_columns(heavy(40, minutes=30), AS_OF).coins["BTC"]
    assert math.exp(coin.level) * math.sqrt(MINUTES_PER_YEAR) == pytest.approx(0.55, abs=0.1)
    assert len(coin.volatility_quantiles) == 21
    assert list(coin.volatility_quantiles) == sorted(coin.volatility_quantiles)
    assert coin.volatility_quantiles[4] < math.exp(coin.level) * math.sqrt(MINUTES_PER_YEAR)
    assert coin.quotes == 40 * 48
    assert coin.days == pytest.approx(40, abs=0.03)


def test_hours_are_learned_from_all_coins_together() -> None:
    """Twice as volatile from noon on, in each of two coins."""
    rng = np.random.default_rng(2)
    seconds = np.arange(-40 * 288, 0) * 300
    late = seconds % 86_400 > 43_200
    coins = []
    for symbol in ("BTC", "ETH"):
        steps = rng.standard_normal(len(seconds)) * 1e-3 * np.where(late, 2, 1)
        coins.append(series(100 * np.exp(np.cumsum(steps)), seconds, symbol))
    hours = np.array(calibrate_columns(as_columns(*coins), AS_OF).hours)
    assert hours[12:].mean() / hours[:12].mean() == pytest.approx(1.95, abs=0.1)
    assert (hours**2).mean() == pytest.approx(1)


def test_tails_are_of_each_coin_and_of_all_at_each_cadence() -> None:
    prices = heavy(40, minutes=10, symbols=("BTC", "ETH", "ADA", "DOT", "SOL"))
    rare = (prices["symbol"] == "SOL") & (np.arange(len(prices)) % 2 == 0)
    found = calibrate_columns(prices.where(~rare), AS_OF)
    keys = {f"{symbol} {score} 5-minute" for symbol in found.coins for score in ("jump", "residual")}
    # 37 days have too few high ones for a tail of the market.
    assert set(found.tails) == keys | {f"{ALL_COINS} {score} 5-minute" for score in SCORES if score != "market"}
    # Three days to settle and thirty quotes to warm up do not count.
    own, pooled = found.tails["BTC jump 5-minute"], found.tails["* jump 5-minute"]
    assert (own.scores, own.days, pooled.scores) == (37 * 144, 37, 37 * (4 * 144 + 72))
    days = found.tails["* large_move 5-minute"]
    assert (days.scores, days.days) == (5 * 37, 37)
    scores = score_columns(prices, found)
    assert set(scores["calibration"][scores["symbol"] == "BTC"]) == {"own"}


def test_the_peaks_of_earlier_days_count_like_their_quotes() -> None:
    """A calibration that reads 90 days and remembers the rest has the tails of one that reads everything."""
    prices = heavy(200, minutes=60, symbols=("BTC", "ETH", "SOL"))
    start = to_datetime64(AS_OF - timedelta(days=90))
    _, peaks = calibrate_with_peaks(prices.where(prices["timestamp"] < start), AS_OF - timedelta(days=90))
    recent = prices.where(prices["timestamp"] >= start)
    whole, remembered = calibrate_columns(prices, AS_OF), calibrate_columns(recent, AS_OF, peaks)
    # The days in which the slow volatility settles are missing.
    assert whole.tails["* large_move hourly"].days == 197 and remembered.tails["* large_move hourly"].days == 194
    for coin in ("BTC", "ETH", "SOL"):
        assert remembered.coins[coin].long == pytest.approx(whole.coins[coin].long, rel=0.05)
        assert remembered.largest[coin].since == whole.largest[coin].since
    assert calibrate_columns(recent, AS_OF).tails["* large_move hourly"].days == 87


def test_a_crash_is_among_the_largest_days() -> None:
    prices = heavy(60, minutes=10, symbols=("BTC", "ETH", "SOL"))
    crashed = prices["price"] * np.where(prices["timestamp"] >= to_datetime64(AS_OF - timedelta(days=20.4)), 0.7, 1.0)
    found = calibrate_columns(Columns({**prices.arrays, "price": crashed}), AS_OF)
    day = (AS_OF - timedelta(days=20.4)).date()
    for symbol in ("BTC", "ETH", "SOL", ALL_COINS):
        assert found.largest[symbol].days[0][0] == day


def test_unchanged_quotes_do_not_count_in_tails() -> None:
    """They score nothing; counted they would make every real score look rare."""
    rng = np.random.default_rng(3)
    seconds = np.arange(-40 * 144, 0) * 600
    prices = 100 * np.exp(np.cumsum(rng.standard_normal(len(seconds)) * 1e-3))
    prices[1::2] = prices[::2]
    found = calibrate_columns(as_columns(series(prices, seconds)), AS_OF)
    assert found.tails["* jump 5-minute"].scores == 37 * 72


def test_without_quotes_hours_are_even_and_there_is_nothing_else() -> None:
    nothing = Calibration(AS_OF, (1.0,) * 24)
    too_late, too_early = heavy(0, after=1), before(heavy(740), AS_OF - timedelta(days=731))
    for prices in (too_late, too_early, before(too_late, AS_OF)):
        assert calibrate_columns(prices, AS_OF) == nothing


def test_a_coin_with_one_quote_does_no_harm() -> None:
    prices = heavy(35, minutes=30)
    one = as_columns(series([7.0], [-60.0], "ONE"))
    both = Columns({name: np.concatenate([prices[name], one[name]]) for name in prices.arrays})
    found = calibrate_columns(both, AS_OF)
    assert found.coins["ONE"].quotes == 1 and found.coins["ONE"].days == 0
    assert found.coins["BTC"] == calibrate_columns(prices, AS_OF).coins["BTC"]


def test_alarms_of_the_days_after_keep_to_their_budget() -> None:
    """Probabilities of a normal return come several times too often in heavy tails; calibrated ones do not.

    The bands are four binomial deviations and what fifty days of tails leave uncertain.
    """
    prices = heavy(50, after=30, symbols=("BTC", "ETH", "SOL", "ADA"), seed=11)
    scores = score_columns(prices, calibrate_columns(prices, AS_OF))
    later = scores["timestamp"] >= to_datetime64(AS_OF)
    quotes = int(later.sum())
    assert quotes == 4 * 30 * 288
    assert (10 ** -scores["jump_score"][later] < 1e-3).mean() > 2e-3
    for name in ("jump_p", "residual_p"):
        for nominal in (1e-2, 1e-3):
            band = 4 * math.sqrt(nominal / quotes) + 0.2 * nominal
            assert (scores[name][later] < nominal).mean() == pytest.approx(nominal, abs=band), (name, nominal)
