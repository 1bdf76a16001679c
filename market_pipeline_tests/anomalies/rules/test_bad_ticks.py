"""A print that the next quotes take back is one thing: one row, not two jumps."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series


def printed(prices: list[float], p: list[float], start: float = 0, **values: Mapping[int, Any]) -> Columns:
    """Quotes five minutes apart; the given prices follow ten quiet ones, each with this jump p."""
    quiet = [100 + 0.01 * (number % 2) for number in range(10)]
    quotes = series([*quiet, *prices], start + np.arange(10 + len(prices)) * 300)
    jumps = {10 + number: each for number, each in enumerate(p)}
    return scores_of(quotes, jump_p=jumps, **values)


def kinds(rows: list[Anomaly]) -> list[tuple[int, str]]:
    return [(row.timestamp.hour * 12 + row.timestamp.minute // 5 - 10, row.kind) for row in rows]


def test_a_print_undone_by_the_next_quote_is_one_bad_tick() -> None:
    [row] = detect_columns(printed([103, 100.05, 100], [1e-6, 1e-6, 0.5]))
    assert (row.kind, row.price_after, row.severity) == ("bad_tick", 103, "watch")
    assert row.timestamp.minute == 50 and row.detected_at.minute == 55
    assert row.score == pytest.approx(0.986, abs=0.01) and row.threshold == 0.85
    assert row.p_calibrated == 1e-6


def test_until_it_is_undone_it_is_a_jump() -> None:
    assert kinds(detect_columns(printed([103], [1e-6]))) == [(0, "jump")]
    assert kinds(detect_columns(printed([103, 102.9], [1e-6, 0.5]))) == [(0, "jump")]
    assert kinds(detect_columns(printed([103, 102.9, 100.1], [1e-6, 0.5, 1e-6]))) == [(0, "bad_tick")]


def test_a_move_undone_after_three_quotes_is_no_bad_tick() -> None:
    rows = detect_columns(printed([103, 102.9, 103, 100], [1e-6, 0.5, 0.5, 1e-6]))
    assert kinds(rows) == [(0, "jump"), (3, "jump")]


def test_a_repeated_bad_print_is_still_one() -> None:
    """An unchanged quote is nothing new, so it is not one of the next two."""
    assert kinds(detect_columns(printed([103, 103, 103, 103, 100], [1e-6, 1, 1, 1, 1e-6]))) == [(0, "bad_tick")]


def test_a_move_undone_by_half_is_a_move() -> None:
    assert kinds(detect_columns(printed([103, 101.5], [1e-6, 1e-4]))) == [(0, "jump"), (1, "jump")]


def test_a_larger_move_the_other_way_undoes_nothing() -> None:
    """From 100 to 103 to 98.2: the price has changed."""
    assert kinds(detect_columns(printed([103, 98.2], [1e-6, 1e-7]))) == [(0, "jump"), (1, "jump")]


def test_the_large_moves_to_and_from_a_bad_print_are_no_rows() -> None:
    scores = printed(
        [103, 100, 99.9, 97],
        [1e-6, 1e-6, 0.5, 0.5],
        large_move_days={10: 50.0, 12: 50.0, 13: 50.0},
        large_move_before={12: 10, 13: 2},
    )
    assert kinds(detect_columns(scores)) == [(0, "bad_tick"), (3, "large_move")]


def test_the_two_point_rows_of_a_bad_tick_stay_as_its_evidence() -> None:
    rows = detect_columns(printed([110, 100], [1e-9, 1e-9]))
    assert kinds(rows) == [(0, "bad_tick"), (0, "user_threshold"), (1, "user_threshold")]
    [tick, *legs] = rows
    assert [leg.quality_flags for leg in legs] == ["bad_tick", "bad_tick"]
    assert [leg.event_id for leg in legs] == [tick.id, tick.id]
    assert alarms(rows) == [tick]


def test_a_two_point_move_in_a_wild_hour_is_no_misprint() -> None:
    assert kinds(detect_columns(printed([106, 100], [0.1, 0.1]))) == [(0, "user_threshold"), (1, "user_threshold")]


def test_in_the_warm_up_an_undone_two_point_move_is_a_bad_tick() -> None:
    scores = printed([110, 100], [0.5, 0.5], quality={10: "warm_up", 11: "warm_up"})
    assert kinds(alarms(detect_columns(scores))) == [(0, "bad_tick")]


def test_a_day_later_is_no_reversal() -> None:
    """Nor is the next quote of a live feed after a gap."""
    for quiet, back in ((86_400, 86_400), (300, 3600)):
        quotes = series([100, 100.01] * 5 + [103, 100], np.cumsum([0, *[quiet] * 10, back]))
        deviation = {10: 0.001, 11: 0.001}
        scores = scores_of(quotes, jump_p={10: 1e-6, 11: 1e-6}, expected_move=deviation)
        assert "bad_tick" not in [row.kind for row in detect_columns(scores)]


def test_alone_it_must_be_so_large_that_no_market_does_it() -> None:
    """5 minutes of 60% a year are 0.185%."""
    assert kinds(detect_columns(printed([102.7, 100], [1e-6, 1e-6]))) == [(0, "jump"), (1, "jump")]
    assert kinds(detect_columns(printed([102.9, 100], [1e-6, 1e-6]))) == [(0, "bad_tick")]


@pytest.mark.parametrize(
    ("peers", "kind"),
    [
        ([(100, 100), (100.1, 100), (100, 100.1)], "bad_tick"),
        ([(101, 100), (100, 100), (100, 100)], "jump"),
        ([(101, 101), (100, 100), (100, 100)], "bad_tick"),
        ([(101, 101), (101, 101), (100, 100)], "jump"),
        ([(100, 99), (100, 99), (100, 100)], "jump"),
    ],
)
def test_a_wick_that_other_coins_share_is_no_misprint(peers: list[tuple[float, float]], kind: str) -> None:
    """Their quotes come seconds later."""
    quiet = [100 + 0.01 * (number % 2) for number in range(10)]
    seconds = np.arange(12) * 300
    others = [series([*quiet, *pair], seconds + 5 + late, f"P{late}") for late, pair in enumerate(peers)]
    scores = scores_of(series([*quiet, 102, 100], seconds), *others, jump_p={10: 1e-6, 11: 1e-6})
    assert next(row.kind for row in detect_columns(scores) if row.symbol == "BTC") == kind


def test_two_bad_ticks_in_a_row_are_two() -> None:
    rows = detect_columns(printed([103, 100, 103.1, 100], [1e-6] * 4))
    assert kinds(rows) == [(0, "bad_tick"), (2, "bad_tick")]
