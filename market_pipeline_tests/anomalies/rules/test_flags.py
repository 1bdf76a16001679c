"""Which quotes are flagged, and as what."""

from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.parameters import DEFAULT_SETTINGS, DetectionSettings
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series


def quotes(changes: dict[int, float] | None = None, symbol: str = "BTC") -> PriceSeries:
    """Twelve quotes five minutes apart that move by cents, but for the changes asked for."""
    prices = 100 + 0.01 * (np.arange(12) % 3)
    for row, price in (changes or {}).items():
        prices[row:] += price - prices[row]
    return series(prices, np.arange(12) * 300, symbol)


def kinds(scores: Columns, settings: DetectionSettings = DEFAULT_SETTINGS) -> list[tuple[int, str]]:
    return [(row.timestamp.minute // 5, row.kind) for row in detect_columns(scores, None, settings)]


def test_quiet_scores_and_no_rows_flag_nothing() -> None:
    assert detect_columns(scores_of(quotes())) == []
    assert detect_columns(scores_of(series([], []))) == []


def test_the_two_point_rule_is_the_rule() -> None:
    [row] = detect_columns(scores_of(quotes({4: 105.1, 8: 105.1 * 1.0499})))
    assert (row.kind, row.timestamp.minute, row.elapsed_seconds) == ("user_threshold", 20, 300)
    assert row.score == row.move == pytest.approx(0.0509, abs=1e-3)
    assert (row.threshold, row.severity, row.direction) == (0.05, "watch", "up")


def test_the_two_point_rule_compares_with_the_previous_quote_even_if_that_was_unchanged() -> None:
    """It is the user's rule, word for word; the volatility scores reach back to the last change."""
    [row] = detect_columns(scores_of(series([100, 101, 101, 101, 110], [0, 300, 600, 900, 1200])))
    assert (row.elapsed_seconds, row.timestamp_before.minute) == (300, 15)
    assert row.expected_move == pytest.approx(0.6 * np.sqrt(300 / 365 / 86_400), rel=0.01)


def test_over_more_than_six_hours_five_percent_is_no_news() -> None:
    seconds = np.arange(9) * (6 * 3600 + 1)
    assert kinds(scores_of(series([100, 106] * 4 + [100], seconds))) == []


def test_another_threshold_is_another_rule_and_another_version() -> None:
    settings, scores = DetectionSettings(user_threshold=0.02), scores_of(quotes({4: 103.0}))
    assert kinds(scores, settings) == [(4, "user_threshold")]
    assert kinds(scores) == []
    others = [settings, DetectionSettings(user_threshold=0.01)]
    assert len({row.detector_version for each in others for row in detect_columns(scores, None, each)}) == 2


def test_the_last_quote_of_one_coin_is_not_compared_with_the_first_of_the_next() -> None:
    assert detect_columns(scores_of(quotes(), series([5.0, 5.01], [0, 300], "ADA"))) == []


@pytest.mark.parametrize(("p", "flagged"), [(9e-4, True), (0.0, True), (1e-3, False)])
def test_a_jump_is_flagged_below_the_watch_level(p: float, flagged: bool) -> None:
    rows = detect_columns(scores_of(quotes({4: 102.0}), jump_p={4: p}, jump_score={4: 7.0}))
    assert [(row.kind, row.p_calibrated) for row in rows] == ([("jump", p)] if flagged else [])
    for row in rows:
        assert row.p_raw == pytest.approx(1e-7)
        assert row.score >= row.threshold == pytest.approx(3.0)


@pytest.mark.parametrize("score", ["jump_p", "residual_p"])
def test_a_move_below_the_floor_is_not_flagged(score: str) -> None:
    """However rare: 0.3% in 5 minutes is nobody's alarm. The limit is one number."""
    scores = scores_of(quotes({4: 100.3}), scope={4: "idiosyncratic"}, **{score: {4: 1e-9}})
    assert kinds(scores) == []
    assert len(kinds(scores, DetectionSettings(materiality=0.0))) == 1
    large = scores_of(quotes({4: 100.3}), large_move_days={4: 1e3})
    assert kinds(large) == [] != kinds(large, DetectionSettings(materiality=0.1))


def test_in_the_warm_up_only_the_two_point_rule_applies() -> None:
    low = {name: {4: 1e-9} for name in ("jump_p", "residual_p")}
    [row] = detect_columns(scores_of(quotes({4: 110.0}), quality={4: "warm_up"}, large_move_days={4: 1e3}, **low))
    assert (row.kind, row.severity, row.p_calibrated) == ("user_threshold", "watch", None)
    assert row.quality_flags == "warm_up"


def test_an_unchanged_quote_is_no_move() -> None:
    """The market may have moved on; this coin has nothing new."""
    still = series([100, 101, 101, 101], [0, 300, 600, 900])
    assert kinds(scores_of(still, jump_p={2: 1e-9}, large_move_days={3: 1e3}, residual_p={3: 1e-9})) == []


def test_a_quote_may_be_both_surprising_and_large() -> None:
    scores = scores_of(quotes({4: 102.0}), jump_p={4: 1e-4}, large_move_days={4: 20.0})
    assert kinds(scores) == [(4, "jump"), (4, "large_move")]


def test_a_large_move_is_that_over_its_own_horizon() -> None:
    values = {"large_move_before": 1, "large_move_horizon": 15.0, "large_move_days": 20.0}
    scores = scores_of(quotes({4: 101.0, 6: 103.0}), **{name: {6: value} for name, value in values.items()})
    [row] = detect_columns(scores)
    assert (row.timestamp_before.minute, row.elapsed_seconds, row.expected_every_days) == (15, 900, 20.0)
    assert row.z == pytest.approx(np.log1p(row.move) / np.log1p(row.expected_move or 0))
    assert row.p_raw is None


@pytest.mark.parametrize("jump", [1e-5, 0.5])
def test_over_a_gap_there_is_one_row_in_place_of_jump_and_large_move(jump: float) -> None:
    """Also where the large move alone is flagged: then its period counts, and no raw p is known."""
    scores = scores_of(quotes({4: 102.0}), jump_p={4: jump}, large_move_days={4: 20.0}, quality={4: "gap"})
    [row] = detect_columns(scores)
    assert (row.kind, row.quality_flags) == ("gap_move", "gap")
    assert (row.p_raw is None) == (jump == 0.5) == (row.expected_every_days == 20.0)


def test_a_later_large_move_that_is_mostly_the_gap_is_evidence_of_it() -> None:
    gap: dict[str, dict[int, Any]] = {"jump_p": {4: 1e-5}, "quality": {4: "gap"}}
    large: dict[str, dict[int, Any]] = {"large_move_days": {6: 20.0}, "large_move_before": {6: 1}}
    [row] = alarms(detect_columns(scores_of(quotes({4: 104.0, 6: 104.2}), **gap, **large)))
    assert (row.kind, row.price_after) == ("gap_move", 104.2)


def test_a_coin_that_leaves_the_market_is_idiosyncratic() -> None:
    values = {"residual_z": 5.5, "market_z": 0.2, "beta": 1.0, "market_share": 0.03, "scope": "idiosyncratic"}
    own: dict[str, dict[int, Any]] = {"residual_p": {4: 1e-4}, "residual_score": {4: 6.0}}
    own |= {name: {4: value} for name, value in values.items()}
    [row] = detect_columns(scores_of(quotes({4: 102.0}), **own))
    assert (row.kind, row.peers_moved) == ("idiosyncratic", 0)
    assert {name: getattr(row, name) for name in values} == values
    assert row.p_raw == pytest.approx(1e-6)
    [jump] = detect_columns(scores_of(quotes({4: 102.0}), jump_p={4: 1e-5}, **own))
    assert (jump.kind, jump.scope, jump.residual_z) == ("jump", "idiosyncratic", 5.5), "one row, with the residual"


def test_a_coin_that_only_goes_further_than_the_market_is_not_alone() -> None:
    assert kinds(scores_of(quotes({4: 101.0}), residual_p={4: 1e-4}, scope={4: "market"})) == []


def test_how_often_it_is_expected_follows_from_p_and_the_usual_spacing_or_the_gap() -> None:
    """A p of 0.01 for moves over six hours is once in 25 days, not several times a day."""
    [row] = detect_columns(scores_of(quotes({6: 102.0}), jump_p={6: 1e-4}))
    assert row.expected_every_days == pytest.approx(300 / 86_400 / 1e-4)
    seconds = [0, 300, 600, 900, 1200, 1200 + 6 * 3600]
    rows = detect_columns(scores_of(series([100, 101, 100, 101, 100, 106], seconds), jump_p={5: 0.01}))
    [row] = [row for row in rows if row.kind == "user_threshold"]
    assert row.expected_every_days == pytest.approx(25)


def test_what_is_not_known_is_none() -> None:
    [row] = detect_columns(scores_of(quotes({2: 102.0}), jump_p={2: 1e-4}, volatility_percentile={2: np.nan}))
    names = ("market_z", "beta", "residual_z", "market_share", "peers_moved", "volatility_percentile")
    assert {getattr(row, name) for name in names} == {None}
    assert row.expected_every_days is None, "one gap before the quote does not make a usual spacing"


def test_symbols_may_be_interleaved() -> None:
    """A table in time order over all coins gives the rows of a table coin by coin."""
    large: dict[str, dict[int, Any]] = {"large_move_days": {20: 20.0}, "large_move_before": {20: 14}}
    scores = scores_of(quotes({4: 102.0}), quotes({7: 96.0}, "ETH"), jump_p={4: 1e-4, 19: 1e-5}, **large)
    order = np.argsort(scores["timestamp"], kind="stable")
    place = np.append(np.argsort(order), -1)
    mixed = {name: values[order] for name, values in scores.arrays.items()}
    mixed |= {name: place[mixed[name]] for name in ("before", "large_move_before")}
    rows = detect_columns(scores)
    assert [row.kind for row in rows] == ["jump", "jump", "large_move"]
    assert detect_columns(Columns(mixed)) == rows


def test_severities_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="severities must be ordered"):
        DetectionSettings(alert_importance=9.0)
