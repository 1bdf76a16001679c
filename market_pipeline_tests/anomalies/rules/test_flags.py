"""Which quotes are flagged, and as what."""

import numpy as np
import pytest

from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.parameters import DEFAULT_SETTINGS, DetectionSettings
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series

MINUTES = np.arange(12) * 300


def quotes(changes: dict[int, float] | None = None, symbol: str = "BTC") -> PriceSeries:
    """Twelve quotes five minutes apart that move by cents, but for the changes asked for."""
    prices = 100 + 0.01 * (np.arange(12) % 3)
    for row, price in (changes or {}).items():
        prices[row:] += price - prices[row]
    return series(prices, MINUTES, symbol)


def kinds(scores: Columns, settings: DetectionSettings = DEFAULT_SETTINGS) -> list[tuple[int, str]]:
    rows = detect_columns(scores, None, settings or DetectionSettings())
    return [(row.timestamp.minute // 5, row.kind) for row in rows]


def test_quiet_scores_flag_nothing() -> None:
    assert detect_columns(scores_of(quotes())) == []


def test_no_rows_are_no_anomalies() -> None:
    assert detect_columns(scores_of(series([], []))) == []


def test_the_two_point_rule_is_the_rule() -> None:
    scores = scores_of(quotes({4: 105.1, 8: 105.1 * 1.0499}))
    [row] = detect_columns(scores)
    assert (row.kind, row.timestamp.minute, row.elapsed_seconds) == ("user_threshold", 20, 300)
    assert row.score == row.move == pytest.approx(0.0509, abs=1e-3)
    assert (row.threshold, row.severity, row.direction) == (0.05, "watch", "up")


def test_the_two_point_rule_compares_with_the_quote_before_even_if_that_was_unchanged() -> None:
    """It is the user's rule, word for word; the volatility scores reach back to the last change."""
    scores = scores_of(series([100, 101, 101, 101, 110], [0, 300, 600, 900, 1200]))
    [row] = detect_columns(scores)
    assert row.elapsed_seconds == 300
    assert row.timestamp_before.minute == 15
    assert row.expected_move == pytest.approx(0.6 * np.sqrt(300 / 365 / 86_400), rel=0.01)


def test_another_threshold_is_another_rule() -> None:
    settings = DetectionSettings(user_threshold=0.02)
    scores = scores_of(quotes({4: 103.0}))
    assert kinds(scores, settings) == [(4, "user_threshold")]
    assert kinds(scores) == []
    versions = {row.detector_version for row in detect_columns(scores, None, settings)}
    assert versions.isdisjoint(
        row.detector_version for row in detect_columns(scores, None, DetectionSettings(user_threshold=0.01))
    )


def test_the_last_quote_of_one_coin_is_not_compared_with_the_first_of_the_next() -> None:
    assert detect_columns(scores_of(quotes(), series([5.0, 5.01], [0, 300], "ADA"))) == []


@pytest.mark.parametrize(
    ("p", "severity"),
    [(9e-4, "watch"), (2e-4, "watch"), (1.9e-4, "alert"), (1.9e-5, "critical"), (0.0, "critical")],
)
def test_a_jump_is_flagged_below_the_watch_level_and_is_as_severe_as_it_is_rare(p: float, severity: str) -> None:
    [row] = detect_columns(scores_of(quotes({4: 102.0}), jump_p={4: p}, jump_score={4: 7.0}))
    assert (row.kind, row.severity, row.p_calibrated) == ("jump", severity, p)
    assert row.p_raw == pytest.approx(1e-7)
    assert row.score >= row.threshold == pytest.approx(3.0)


def test_a_p_at_the_watch_level_is_no_jump() -> None:
    assert kinds(scores_of(quotes({4: 102.0}), jump_p={4: 1e-3})) == []


def test_in_the_warm_up_only_the_two_point_rule_speaks() -> None:
    scores = scores_of(
        quotes({4: 110.0}),
        jump_p={4: 1e-9},
        large_move_p={4: 1e-9},
        residual_p={4: 1e-9},
        quality={4: "warm_up"},
    )
    [row] = detect_columns(scores)
    assert (row.kind, row.severity, row.p_calibrated, row.quality_flags) == (
        "user_threshold",
        "watch",
        None,
        "warm_up",
    )


def test_an_unchanged_quote_is_no_move() -> None:
    """The market may have moved on; this coin has said nothing new."""
    quotes = series([100, 101, 101, 101], [0, 300, 600, 900])
    assert kinds(scores_of(quotes, jump_p={2: 1e-9}, large_move_p={3: 1e-9}, residual_p={3: 1e-9})) == []


def test_a_quote_may_be_both_surprising_and_large() -> None:
    scores = scores_of(quotes({4: 102.0}), jump_p={4: 1e-4}, large_move_p={4: 1e-3})
    assert kinds(scores) == [(4, "jump"), (4, "large_move")]


def test_a_large_move_is_told_over_its_own_horizon() -> None:
    scores = scores_of(
        quotes({4: 101.0, 6: 103.0}),
        large_move_p={6: 1e-3},
        large_move_before={6: 1},
        large_move_horizon={6: 15.0},
        large_move_score={6: 9.0},
    )
    [row] = detect_columns(scores)
    assert (row.timestamp_before.minute, row.elapsed_seconds, row.horizon_minutes) == (5, 1500, 15.0)
    assert row.z == pytest.approx(9.0)
    assert np.log1p(row.expected_move or 0) == pytest.approx(np.log1p(row.move) / 9)
    assert row.p_raw is None


@pytest.mark.parametrize(("gap", "level"), [(300, 2e-3), (3600, 1e-2)])
def test_large_moves_of_hourly_quotes_have_a_level_of_their_own(gap: float, level: float) -> None:
    """Twelve times fewer quotes may be flagged more often each."""
    quotes = series(100 + 0.01 * (np.arange(8) % 3), np.arange(8) * gap)
    assert detect_columns(scores_of(quotes, large_move_p={4: level})) == []
    [row] = detect_columns(scores_of(quotes, large_move_p={4: level * 0.99}))
    assert row.threshold == pytest.approx(-np.log10(level))


def test_over_a_gap_there_is_one_row_in_place_of_jump_and_large_move() -> None:
    scores = scores_of(quotes({4: 102.0}), jump_p={4: 1e-5}, large_move_p={4: 1e-4}, quality={4: "gap"})
    [row] = detect_columns(scores)
    assert (row.kind, row.severity, row.quality_flags) == ("gap_move", "critical", "gap")


def test_a_large_move_over_a_gap_is_a_gap_move_even_if_it_is_no_jump() -> None:
    scores = scores_of(quotes({4: 102.0}), large_move_p={4: 1e-4}, quality={4: "gap"})
    [row] = detect_columns(scores)
    assert (row.kind, row.p_raw) == ("gap_move", None)


@pytest.mark.parametrize(("later", "rows"), [(102.2, ["gap_move"]), (104.5, ["gap_move", "large_move"])])
def test_a_later_large_move_that_is_mostly_the_gap_is_not_told_again(later: float, rows: list[str]) -> None:
    scores = scores_of(
        quotes({4: 102.0, 6: later}),
        jump_p={4: 1e-5},
        quality={4: "gap"},
        large_move_p={6: 1e-3},
        large_move_before={6: 1},
    )
    assert [kind for _, kind in kinds(scores)] == rows


def test_a_coin_that_leaves_the_market_is_idiosyncratic() -> None:
    scores = scores_of(
        quotes({4: 101.0}),
        residual_p={4: 1e-4},
        residual_score={4: 6.0},
        residual_z={4: 5.5},
        market_z={4: 0.2},
        beta={4: 1.0},
        market_share={4: 0.03},
        scope={4: "idiosyncratic"},
    )
    [row] = detect_columns(scores)
    assert (row.kind, row.scope, row.severity) == ("idiosyncratic", "idiosyncratic", "alert")
    assert (row.residual_z, row.market_z, row.beta, row.market_share, row.peers_moved) == (
        5.5,
        0.2,
        1.0,
        0.03,
        0,
    )
    assert row.p_raw == pytest.approx(1e-6)


def test_a_jump_of_its_own_is_one_row_that_carries_the_residual() -> None:
    scores = scores_of(
        quotes({4: 102.0}),
        jump_p={4: 1e-5},
        residual_p={4: 1e-5},
        residual_z={4: 7.0},
        scope={4: "idiosyncratic"},
    )
    [row] = detect_columns(scores)
    assert (row.kind, row.scope, row.residual_z) == ("jump", "idiosyncratic", 7.0)


def test_a_coin_that_only_goes_further_than_the_market_is_not_alone() -> None:
    scores = scores_of(quotes({4: 101.0}), residual_p={4: 1e-4}, scope={4: "market"})
    assert kinds(scores) == []


def test_how_often_it_is_expected_follows_from_p_and_the_usual_spacing() -> None:
    [row] = detect_columns(scores_of(quotes({6: 102.0}), jump_p={6: 1e-4}))
    assert row.expected_every_days == pytest.approx(300 / 86_400 / 1e-4)


def test_a_move_over_a_gap_is_not_expected_at_every_quote() -> None:
    """A p of 0.01 for moves over a week: once in two years, not several times a day."""
    seconds = [0, 300, 600, 900, 1200, 1200 + 7 * 86_400]
    scores = scores_of(series([100, 101, 100, 101, 100, 106], seconds), jump_p={5: 0.01})
    [row] = [row for row in detect_columns(scores) if row.kind == "user_threshold"]
    assert row.expected_every_days == pytest.approx(700)
    assert "is expected once in 2 years" in row.explanation


def test_what_is_not_known_is_none() -> None:
    [row] = detect_columns(scores_of(quotes({2: 102.0}), jump_p={2: 1e-4}, volatility_percentile={2: np.nan}))
    unknown = (
        row.market_z,
        row.beta,
        row.residual_z,
        row.market_share,
        row.peers_moved,
        row.volatility_percentile,
    )
    assert set(unknown) == {None}
    # One gap before the quote does not make a usual spacing.
    assert row.expected_every_days is None


def test_symbols_may_be_interleaved() -> None:
    """A table in time order over all coins gives the rows of a table coin by coin."""
    scores = scores_of(
        quotes({4: 102.0}),
        quotes({7: 98.0}, "ETH"),
        jump_p={4: 1e-4, 19: 1e-5},
        large_move_p={20: 1e-4},
        large_move_before={20: 14},
    )
    order = np.argsort(scores["timestamp"], kind="stable")
    place = np.append(np.argsort(order), -1)
    mixed = {name: values[order] for name, values in scores.arrays.items()}
    mixed |= {name: place[mixed[name]] for name in ("before", "large_move_before")}
    rows = detect_columns(scores)
    assert [row.kind for row in rows] == ["jump", "jump", "large_move"]
    assert detect_columns(type(scores)(mixed)) == rows


def test_severities_out_of_order_are_refused() -> None:
    with pytest.raises(ValueError, match="severities must be ordered"):
        DetectionSettings(watch_p=1e-5)
