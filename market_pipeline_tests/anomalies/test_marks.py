"""Which quotes a mark `noise` condemns, and what the marks say of precision."""

from datetime import timedelta

import pytest

from market_pipeline.anomalies.marks import MarkCounts, MarkedNoise, noise_mask
from market_pipeline_tests.builders import at, price_row, prices_of

Prices = list[tuple[float, float]]


def condemned(kind: str, quotes: Prices, flagged: float, before: float = 0, after: float | None = None) -> list[float]:
    """The minutes of the quotes of BTC that a mark on the anomaly at `flagged` minutes keeps out.

    `before` is the time of the price before; the quotes of two other coins are around them.
    """
    by_minute = dict(quotes)
    rows = [price_row(symbol, minute, price) for symbol in ("ADA", "BTC", "ETH") for minute, price in quotes]
    mark = MarkedNoise(
        "BTC", kind, at(flagged), at(before), by_minute[before], by_minute[flagged] if after is None else after
    )
    absent = MarkedNoise("XYZ", kind, at(0), at(0), 1.0, 2.0)
    prices = prices_of(*rows)
    kept_out = prices.where(noise_mask(prices, [absent, mark]))
    assert set(kept_out["symbol"].tolist()) <= {"BTC"}
    return [(moment - at(0)) / timedelta(minutes=1) for moment in kept_out.datetimes("timestamp")]


PRINT: Prices = [(0, 100.0), (5, 120.0), (10, 119.0), (15, 121.0), (20, 100.5), (25, 101.0)]
SLOWLY_BACK: Prices = [(0, 100.0), (5, 120.0), (10, 112.0), (15, 109.0), (20, 102.0), (25, 100.0)]
FOR_GOOD: Prices = [(0, 100.0), *((5.0 * n, 120.0) for n in range(1, 60))]
LATE: Prices = [*FOR_GOOD, (300, 100.0)]
STUCK: Prices = [(0, 99.0), (5, 100.0), (10, 100.0), (15, 100.0), (20, 100.0), (25, 101.0), (30, 100.0)]


@pytest.mark.parametrize(("kind", "quotes", "flagged", "before", "kept_out"), [
    ("jump", PRINT, 5, 0, [5, 10, 15]),
    ("user_threshold", PRINT, 5, 0, [5, 10, 15]),
    ("gap_move", PRINT, 5, 0, [5, 10, 15]),
    ("user_threshold", PRINT, 20, 15, []),  # the way back
    ("jump", PRINT[:3], 5, 0, []),  # no later quote is known
    ("jump", SLOWLY_BACK, 5, 0, []),
    ("bad_tick", SLOWLY_BACK, 5, 0, [5, 10]),
    ("jump", FOR_GOOD, 5, 0, []),
    ("jump", LATE, 5, 0, []),
    ("bad_tick", LATE, 5, 0, [minute for minute, _ in LATE[1:-1]]),
    ("stale_feed", STUCK, 20, 5, [10, 15, 20]),
    ("stale_feed", STUCK, 30, 25, []),  # a gap
    ("large_move", PRINT, 5, 0, []),
    ("market_move", PRINT, 5, 0, []),
    ("idiosyncratic", PRINT, 5, 0, []),
])
def test_the_quotes_of_a_misprint_and_of_a_stuck_feed_are_kept_out_and_no_real_ones(
    kind: str, quotes: Prices, flagged: float, before: float, kept_out: list[float]
) -> None:
    assert condemned(kind, quotes, flagged, before) == kept_out


def test_a_print_that_is_no_longer_stored_condemns_nothing() -> None:
    assert condemned("bad_tick", [(0, 100.0), (10, 101.0), (12, 119.0), (20, 100.0)], 12, 0, 120.0) == [12]
    quotes = prices_of(*(price_row("BTC", minute, 119.0) for minute in (4, 6)), price_row("BTC", 9, 100.0))
    assert not noise_mask(quotes, [MarkedNoise("BTC", "bad_tick", at(5), at(0), 100.0, 120.0)]).any()
    assert len(noise_mask(prices_of(), [MarkedNoise("BTC", "bad_tick", at(5), at(0), 100.0, 120.0)])) == 0


def test_precision_is_the_share_of_real_ones_and_the_expected_do_not_count() -> None:
    assert MarkCounts("jump", real=3, noise=1, expected=7).precision == 0.75
    assert MarkCounts("jump", expected=7).precision is None
