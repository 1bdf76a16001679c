"""A feed that stands still, and what only looks like one."""

from collections.abc import Sequence

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import Numbers, as_columns, scores_of, series, walk

HOUR = 3600


def feed(gaps: Numbers, still: Sequence[tuple[int, int]] = ()) -> PriceSeries:
    """A feed with the given gaps (seconds) whose price moves all the time, in cents of 30,000 dollars."""
    seconds = np.cumsum([0, *gaps])
    prices = np.round(walk(seconds).prices * 300, 2)
    for first, last in still:
        prices[first : last + 1] = prices[first]
    return series(prices, seconds)


def stale(scores: Columns) -> list[Anomaly]:
    return [row for row in detect_columns(scores) if row.kind == "stale_feed"]


def test_a_gap_of_more_than_five_usual_gaps_is_known_with_the_quote_that_ends_it() -> None:
    [row] = stale(scores_of(feed([300] * 20 + [1800] + [300] * 5)))
    assert row.elapsed_seconds == 1800
    assert (row.timestamp - row.timestamp_before).total_seconds() == 1800
    assert (row.score, row.threshold) == (30, 25)
    assert (row.direction, row.severity, row.scope, row.z) == ("none", "watch", "unknown", None)
    assert row.detected_at == row.timestamp


@pytest.mark.parametrize(("usual", "gap"), [(300, 1500), (60, 900), (1200, 6000)])
def test_a_gap_at_the_limit_is_none(usual: float, gap: float) -> None:
    assert stale(scores_of(feed([usual] * 20 + [gap, usual]))) == []
    assert len(stale(scores_of(feed([usual] * 20 + [gap + 1, usual])))) == 1


def test_what_is_usual_is_known_from_the_past_only() -> None:
    """Quotes that become rarer later do not make an outage usual."""
    gaps = [300] * 20 + [1800]
    alone, followed = stale(scores_of(feed(gaps))), stale(scores_of(feed(gaps + [1200] * 100)))
    assert alone == followed[:1] != []


def test_with_hardly_any_past_nothing_is_usual() -> None:
    assert stale(scores_of(feed([300, 7000, 300]))) == []


def test_hourly_history_is_no_stale_feed() -> None:
    rng = np.random.default_rng(3)
    assert stale(scores_of(feed(3600 + rng.uniform(-60, 60, 100)))) == []


@pytest.mark.parametrize("first", [400, 1800, 3500])
def test_the_seams_of_hourly_history_and_live_quotes_are_none(first: float) -> None:
    """The last live quote may be up to an hour before the first one of the history, and the other way."""
    assert stale(scores_of(feed([300] * 30 + [first] + [3600] * 30 + [first] + [300] * 30))) == []


@pytest.mark.parametrize("between", [300, 1800])
def test_the_seam_raises_no_alarm_of_any_kind(between: float) -> None:
    """Scores and rules together: five-minute quotes after a week of hourly ones, and the way back."""
    quotes = feed([3600] * 150 + [between] + [300] * 200 + [between] + [3600] * 40)
    assert detect_columns(score_columns(as_columns(quotes))) == []


def test_one_missing_hour_among_live_quotes_is_a_gap() -> None:
    assert len(stale(scores_of(feed([300] * 20 + [3600] + [300] * 5)))) == 1


def test_missing_hours_of_hourly_history_are_stale_from_five_hours_on() -> None:
    assert stale(scores_of(feed([3600] * 20 + [4 * HOUR, 3600]))) == []
    assert len(stale(scores_of(feed([3600] * 20 + [6 * HOUR, 3600])))) == 1


def test_a_price_that_stands_still_is_known_when_the_limit_is_passed() -> None:
    [row] = stale(scores_of(feed([300] * 40, still=[(20, 32)])))
    assert row.timestamp_before.hour * 60 + row.timestamp_before.minute == 100
    assert (row.score, row.threshold, row.elapsed_seconds) == (30, 25, 1800)
    assert row.price_before == row.price_after
    assert row.p_raw is not None and row.p_raw < 1e-6
    assert row.move == 0


def test_one_stretch_is_one_row() -> None:
    """A gap within a stretch that is known already brings nothing new, nor does the quote that ends it."""
    gaps = [300] * 26 + [3000] + [300] * 14
    assert len(stale(scores_of(feed(gaps, still=[(20, 30)])))) == 1
    assert len(stale(scores_of(feed(gaps, still=[(24, 30)])))) == 1
    assert len(stale(scores_of(feed([300] * 40, still=[(10, 20), (25, 34)])))) == 2


def test_a_coarse_price_stands_still_every_day() -> None:
    """A coin of 40 cents quoted in cents: one step is several standard deviations."""
    seconds = np.arange(300) * 300
    prices = np.round(walk(seconds).prices * 0.004, 2)
    quotes = series(prices, seconds)
    scores = scores_of(quotes)
    assert scores["stale_minutes"].max() > 25
    assert stale(scores) == []


def test_a_price_that_has_never_moved_is_not_stale() -> None:
    assert stale(scores_of(series([1.0] * 50, np.arange(50) * 300))) == []
