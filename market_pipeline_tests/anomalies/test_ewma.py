"""The EWMA score: what it flags, what it leaves alone, and that it looks only back."""

import numpy as np
import pytest

from market_pipeline.anomalies.ewma import THRESHOLD, EwmaScore
from market_pipeline.anomalies.volatility import changed_returns, volatility_before

detect = EwmaScore().detect
FIVE_MINUTES, HOUR, DAY = 300, 3600, 86_400


def with_jump(series, quotes, index, factor):
    """`quotes` with all prices from number `index` on multiplied by `factor`."""
    prices = quotes.prices.copy()
    prices[index:] *= factor
    seconds = (quotes.timestamps - quotes.timestamps[0]) / np.timedelta64(1, "s")
    return series(prices, seconds, quotes.symbol)


def test_a_steady_walk_raises_no_alarm(walk):
    for seed in range(5):
        assert detect(walk(np.arange(2300) * FIVE_MINUTES, seed)) == []


@pytest.mark.parametrize(("factor", "direction"), [(1.03, "up"), (0.97, "down")])
def test_a_jump_of_three_percent_in_a_calm_market_is_flagged(walk, series, factor, direction):
    quotes = with_jump(series, walk(np.arange(500) * FIVE_MINUTES), 400, factor)
    [anomaly] = detect(quotes)
    assert anomaly.timestamp == quotes.time(400)
    assert anomaly.direction == direction
    assert anomaly.score >= anomaly.threshold == THRESHOLD


def test_the_score_is_the_return_over_volatility_and_root_of_time(walk, series):
    quotes = with_jump(series, walk(np.arange(500) * FIVE_MINUTES), 400, 1.03)
    [anomaly] = detect(quotes)
    volatility = volatility_before(changed_returns(quotes))[399]
    log_return = np.log(anomaly.price_after / anomaly.price_before)
    assert anomaly.score == pytest.approx(log_return / (volatility * np.sqrt(300)))
    assert anomaly.expected_move == pytest.approx(np.expm1(volatility * np.sqrt(300)))


def test_the_same_move_is_an_anomaly_in_five_minutes_but_not_in_a_day(walk, series):
    seconds = np.arange(200) * FIVE_MINUTES
    past = walk(seconds)
    prices = np.append(past.prices, past.prices[-1] * 1.03)
    assert len(detect(series(prices, np.append(seconds, seconds[-1] + FIVE_MINUTES)))) == 1
    assert detect(series(prices, np.append(seconds, seconds[-1] + DAY))) == []


def test_it_is_silent_during_the_warm_up(walk, series):
    quotes = walk(np.arange(60) * FIVE_MINUTES)
    assert detect(with_jump(series, quotes, 30, 1.2)) == []
    assert len(detect(with_jump(series, quotes, 31, 1.2))) == 1


def test_later_quotes_do_not_change_earlier_rows(walk, series):
    quotes = with_jump(series, with_jump(series, walk(np.arange(500) * FIVE_MINUTES), 200, 1.03), 450, 0.9)
    rows = detect(quotes)
    assert len(rows) == 2
    assert detect(quotes.between(quotes.time(0), quotes.time(300))) == rows[:1]


def test_hourly_history_followed_by_live_quotes_raises_no_alarm_at_the_seam(walk):
    """A past day is completed with hourly points while today arrives every five minutes."""
    hourly = np.arange(7 * 24) * HOUR
    live = hourly[-1] + FIVE_MINUTES * np.arange(1, 289)
    for seed in range(20):
        assert detect(walk(np.concatenate([hourly, live]), seed)) == []


def test_live_and_hourly_points_side_by_side_raise_no_alarm(walk):
    """The completed day holds the live quotes of before and hourly points a few seconds beside them."""
    live = np.arange(2 * 288) * FIVE_MINUTES + 10.0
    hourly = np.arange(1, 48) * HOUR + 13.0
    for seed in range(20):
        assert detect(walk(np.sort(np.concatenate([live, hourly])), seed)) == []


def test_an_outage_of_a_week_raises_no_alarm_of_its_own(walk):
    seconds = np.concatenate([np.arange(300) * FIVE_MINUTES, 8 * DAY + np.arange(100) * FIVE_MINUTES])
    for seed in range(20):
        assert detect(walk(seconds, seed)) == []


def test_two_prints_within_a_millisecond_neither_alarm_nor_blind_the_detector(walk, series):
    """Divided by its true time a rounding difference would dwarf every real move before and after."""
    seconds = np.arange(400) * FIVE_MINUTES
    quotes = walk(seconds)
    prices = np.insert(quotes.prices, 300, quotes.prices[299] * 1.0002)
    crowded = series(prices, np.insert(seconds.astype(float), 300, seconds[299] + 0.001))
    assert detect(crowded) == []
    [anomaly] = detect(with_jump(series, crowded, 320, 1.03))
    assert anomaly.timestamp == crowded.time(320)


def test_repeated_quotes_are_skipped_and_their_time_counts(walk, series):
    """Half of the quotes repeat the one before: the score must be that of the changed ones alone."""
    changed = with_jump(series, walk(np.arange(200) * 2 * FIVE_MINUTES), 150, 1.05)
    repeated = series(np.repeat(changed.prices, 2), np.arange(400) * FIVE_MINUTES)
    [expected], [found] = detect(changed), detect(repeated)
    assert found == expected
    assert found.elapsed_seconds == 2 * FIVE_MINUTES


def test_a_price_that_never_changes_is_no_anomaly_and_no_division_by_zero(series):
    assert detect(series(np.full(500, 42.0), np.arange(500) * FIVE_MINUTES)) == []


@pytest.mark.parametrize("factor", [1000.0, 1e-9, 1e12])
def test_the_unit_of_the_price_does_not_matter(walk, series, factor):
    seconds = np.arange(500) * FIVE_MINUTES
    quotes = with_jump(series, walk(seconds), 400, 1.03)
    [small], [large] = detect(quotes), detect(series(quotes.prices * factor, seconds))
    assert large.timestamp == small.timestamp
    assert large.score == pytest.approx(small.score, rel=1e-6)
    assert large.move == pytest.approx(small.move, rel=1e-9)
