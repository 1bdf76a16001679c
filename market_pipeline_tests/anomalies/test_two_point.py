"""The two-point rule."""

from datetime import timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.two_point import TwoPointMove

detect = TwoPointMove().detect


@pytest.mark.parametrize(
    ("after", "direction"), [(105.0, "up"), (95.0, "down"), (300.0, "up"), (1.0, "down")]
)
def test_five_percent_or_more_is_flagged(series, after, direction):
    [anomaly] = detect(series([100.0, after], [0, 300]))
    assert anomaly.direction == direction
    assert anomaly.move == after / 100.0 - 1
    assert anomaly.score == abs(after / 100.0 - 1)
    assert (anomaly.detector, anomaly.threshold) == ("two_point", 0.05)


@pytest.mark.parametrize("after", [104.99, 95.01, 100.0])
def test_less_than_five_percent_is_not_flagged(series, after):
    assert detect(series([100.0, after], [0, 300])) == []


def test_a_slow_rise_of_five_percent_over_many_quotes_is_not_flagged(series):
    assert detect(series(np.linspace(100, 110, 20), np.arange(20) * 300)) == []


def test_the_row_holds_both_quotes_and_the_time_between_them(series):
    quotes = series([100, 100, 90, 90], [0, 300, 647.5, 900], "SOL")
    [anomaly] = detect(quotes)
    assert anomaly.symbol == "SOL"
    assert (anomaly.price_before, anomaly.price_after) == (100, 90)
    assert (anomaly.timestamp_before, anomaly.timestamp) == (quotes.time(1), quotes.time(2))
    assert anomaly.timestamp.utcoffset() == timedelta(0)
    assert anomaly.elapsed_seconds == 347.5


def test_the_rule_ignores_how_much_time_passed_but_the_row_tells(series):
    [anomaly] = detect(series([100, 106], [0, 7 * 86_400]))
    assert anomaly.elapsed_seconds == 7 * 86_400


def test_the_expected_move_is_empty_while_little_is_known(series):
    [anomaly] = detect(series([100, 106], [0, 300]))
    assert anomaly.expected_move is None


def test_the_expected_move_is_the_usual_one_for_this_interval(walk, series):
    """Of the walk: 60 % a year over 300 seconds is 0.19 %."""
    past = walk(np.arange(500) * 300)
    prices = np.append(past.prices, past.prices[-1] * 1.07)
    [anomaly] = detect(series(prices, np.arange(501) * 300))
    assert anomaly.expected_move == pytest.approx(0.6 * np.sqrt(300 / (365 * 86_400)), rel=0.5)


def test_the_move_and_its_way_back_are_two_rows(series):
    assert [anomaly.direction for anomaly in detect(series([100, 110, 100], [0, 300, 600]))] == ["up", "down"]
