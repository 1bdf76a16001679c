"""A feed that stands still, and what only looks like one."""

from collections.abc import Sequence

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
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


@pytest.mark.parametrize("first", [400, 1800, 3500])
@pytest.mark.parametrize("history", [(3300, 4500), (86_000, 86_800), (14_000, 15_000)])
def test_coarser_history_and_its_seams_with_live_quotes_are_none(first: float, history: tuple[float, float]) -> None:
    """The last live quote may be up to an interval before the first one of the history, and the other way."""
    coarse = np.random.default_rng(3).uniform(*history, 30)
    assert stale(scores_of(feed(coarse))) == []
    assert stale(scores_of(feed([300] * 30 + [first, *coarse, first] + [300] * 30))) == []


def test_a_hole_filled_with_two_hourly_quotes_is_history() -> None:
    assert stale(scores_of(feed([300] * 30 + [2000, 3700, 3500, 2000] + [300] * 9))) == []


def test_two_outages_one_after_the_other_are_no_history() -> None:
    assert len(stale(scores_of(feed([300] * 30 + [7200, 7500] + [300] * 9)))) == 2


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
    assert (row.score, row.threshold, row.elapsed_seconds) == (60, 25, 1800)  # The score is the whole stretch.
    assert row.price_before == row.price_after
    assert row.p_raw is not None and row.p_raw < 1e-6
    assert row.move == 0


def test_one_stretch_is_one_row() -> None:
    """A gap within a stretch that is known already brings nothing new, nor does the quote that ends it."""
    gaps = [300] * 26 + [3000] + [300] * 14
    assert len(stale(scores_of(feed(gaps, still=[(20, 30)])))) == 1
    assert len(stale(scores_of(feed(gaps, still=[(24, 30)])))) == 1
    assert len(stale(scores_of(feed([300] * 40, still=[(17, 25), (29, 38)])))) == 2


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


@pytest.mark.parametrize(("gap", "severity"), [(7000, "watch"), (7300, "alert")])
def test_an_outage_of_hours_is_an_alert(gap: float, severity: str) -> None:
    assert [row.severity for row in stale(scores_of(feed([300] * 20 + [gap, 300])))] == [severity]


def test_coins_that_are_silent_together_have_one_outage() -> None:
    seconds = np.cumsum([0, *[300] * 20, 8000, 300])
    late = np.cumsum([0, *[300] * 25, 1800])
    coins = [walk(seconds + shift, symbol=name) for shift, name in enumerate(("ETH", "BTC", "ADA"))]
    rows = stale(scores_of(*coins, walk(late, symbol="SOL")))
    first, others = next(row for row in rows if row.symbol == "ETH"), {row.symbol: row for row in rows}
    assert first.members == "ADA,BTC,ETH"
    assert [others[name].event_id for name in ("ETH", "BTC", "ADA", "SOL")] == [first.id] * 3 + [None]
    assert {row.symbol for row in alarms(rows)} == {"ETH", "SOL"}
