"""The detectors on real prices: November 2022, when an exchange collapsed."""

from datetime import date, datetime, timedelta, timezone

import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_columns, detect_days
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns

SYMBOLS = ("ADA", "BTC", "DOT", "ETH", "SOL")
COLLAPSE = (date(2022, 11, 8), date(2022, 11, 9), date(2022, 11, 10))
CALM = date(2022, 10, 30)


def day_rows(prices: Columns, *days: date, calibration: Calibration | None = None) -> list[Anomaly]:
    return detect_days(prices, [(day, symbol) for day in days for symbol in SYMBOLS], lambda day: calibration)


@pytest.fixture(scope="module")
def collapse(real_prices: Columns) -> list[Anomaly]:
    return day_rows(real_prices, *COLLAPSE)


def test_each_day_of_the_collapse_has_a_market_event(collapse: list[Anomaly]) -> None:
    events = {row.timestamp.date() for row in collapse if row.kind == "market_move"}
    assert events == set(COLLAPSE)


def test_most_rows_are_evidence_of_an_event(collapse: list[Anomaly]) -> None:
    assert len(alarms(collapse)) < 0.5 * len(collapse)


@pytest.mark.parametrize("day", COLLAPSE)
def test_the_collapse_is_flagged_in_hourly_quotes(real_prices: Columns, day: date) -> None:
    """Hourly quotes are what a completed past day holds."""
    on_the_hour = real_prices["timestamp"] == real_prices["timestamp"].astype("datetime64[h]")
    rows = day_rows(real_prices.where(on_the_hour), day)
    assert len({row.symbol for row in rows}) >= 3
    assert "stale_feed" not in {row.kind for row in rows}


def test_the_jump_at_the_inflation_report_is_one_event(real_prices: Columns) -> None:
    start = datetime(2022, 11, 10, tzinfo=timezone.utc)
    rows = day_rows(real_prices, start.date(), calibration=calibrate_columns(real_prices, start))
    at = start + timedelta(hours=13, minutes=35)
    [event] = [row for row in alarms(rows) if row.timestamp == at and row.kind == "market_move"]
    assert (event.symbol, event.direction, event.scope) == ("ETH", "up", "market")
    assert set((event.members or "").split(",")) == set(SYMBOLS)
    assert event.timestamp_before == at - timedelta(minutes=5) and event.move >= 0.081
    [jump] = [row for row in rows if (row.symbol, row.kind, row.timestamp) == ("ETH", "user_threshold", at)]
    assert jump.event_id == event.id
    assert [jump.move, jump.threshold] == pytest.approx([0.081, 0.05], abs=5e-4)


def test_a_calm_day_is_calm(real_prices: Columns) -> None:
    assert len({row.episode_id for row in alarms(day_rows(real_prices, CALM))}) <= 4


def test_a_week_of_hourly_history_before_live_quotes_raises_nothing_at_the_seam(real_prices: Columns) -> None:
    """The pipeline's first day: the past comes hourly, then a quote every five minutes."""
    times = real_prices["timestamp"]
    seam = times.min() + (times.max() - times.min()) // 4
    hourly = times == times.astype("datetime64[h]")
    rows = detect_columns(score_columns(real_prices.where(hourly | (times >= seam))))
    edge = seam.item().replace(tzinfo=timezone.utc)
    near = [row for row in rows if abs(row.timestamp - edge) <= timedelta(hours=1)]
    assert [row for row in near if abs(row.move) > 0.005] == []
    assert rows


def test_nothing_is_flagged_live_that_the_finished_day_does_not_have(real_prices: Columns) -> None:
    """A tick at noon gives the same morning as the finished day, but for confirmations."""
    noon = real_prices["timestamp"] <= real_prices["timestamp"].dtype.type("2022-11-08T12:00", "us")
    early = {row.id: row for row in day_rows(real_prices.where(noon), COLLAPSE[0])}
    late = {row.id for row in day_rows(real_prices, COLLAPSE[0])}
    assert early and set(early) <= late
