"""The sentence of a row, as a person reads it."""

import numpy as np

from market_pipeline.anomalies.ewma import EwmaScore
from market_pipeline.anomalies.explain import against_limit, against_usual
from market_pipeline.anomalies.two_point import TwoPointMove


def test_the_two_point_rule_names_its_limit(series):
    [row] = TwoPointMove().detect(series([100, 106.13], [15_000, 15_300]))
    assert row.explanation == (
        "BTC rose 6.1 % from $100.00 to $106.13 in 5 min (2023-06-01 04:10-04:15 UTC), "
        "more than the 5 % limit."
    )


def test_a_move_across_midnight_names_both_days(series):
    [row] = TwoPointMove().detect(series([0.0002, 0.0001], [86_400 - 3600, 86_400 + 3600], "PEPE"))
    assert row.explanation == (
        "PEPE fell 50.0 % from $0.0002000 to $0.0001000 in 2 h (2023-06-01 23:00 to 2023-06-02 01:00 UTC), "
        "more than the 5 % limit."
    )


def test_the_ewma_score_names_what_was_usual(series):
    """Fifty returns of 1 % up and down, then a fall of 15.2 %."""
    prices = np.where(np.arange(51) % 2 == 0, 100.0, 100.0 * np.exp(0.01))
    quotes = series(np.append(prices, 84.8), np.arange(52) * 300, "SOL")
    [row] = EwmaScore().detect(quotes)
    assert row.explanation == (
        "SOL fell 15.2 % from $100.00 to $84.80 in 5 min (2023-06-01 04:10-04:15 UTC), "
        "15.1 times the 1.0 % that is usual for this interval."
    )


def test_the_ratio_is_that_of_the_two_percents():
    assert against_usual(-0.152, 0.0183) == "8.3 times the 1.8 % that is usual for this interval"


def test_a_limit_with_a_fraction_keeps_it():
    assert against_limit(0.025) == "more than the 2.5 % limit"
