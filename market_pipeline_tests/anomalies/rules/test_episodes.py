"""Episodes and confirmation: what belongs together, and whether it was still there an hour later."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series


def jumps(p: Mapping[int, Any], size: int = 60, kind: str = "jump_p", gap: float = 300) -> Columns:
    """A walk of cents, quoted every five minutes, with moves of 2% and jump p at the given quotes."""
    prices = 100 + 0.01 * (np.arange(size) % 3)
    for row in p:
        prices[row:] *= 1.02
    scope = dict.fromkeys(p, "idiosyncratic")
    return scores_of(series(prices, np.arange(size) * gap), **{kind: p}, scope=scope)


def test_flagged_quotes_within_an_hour_are_one_episode() -> None:
    rows = detect_columns(jumps({5: 1e-4, 17: 1e-6, 29: 1e-5, 42: 1e-4}))
    ids = [row.episode_id for row in rows]
    assert ids == [rows[0].id] * 3 + [rows[3].id]
    first = rows[0]
    assert (first.episode_first, first.episode_peak, first.episode_last) == tuple(row.timestamp for row in rows[:3])
    assert {row.episode_peak for row in rows[:3]} == {rows[1].timestamp}


def test_a_large_move_is_a_row_again_only_where_it_grew() -> None:
    """Its episode lasts as long as it is flagged."""
    scores = jumps({}, kind="large_move_p")
    for row, p in {5: 1e-4, 6: 5e-4, 7: 1e-5, 8: 1e-5, 9: 1e-6, 10: 1e-4}.items():
        scores["large_move_p"][row] = p
        scores["price"][row] = 100 + row
        scores["large_move_before"][row] = 1
    rows = [row for row in detect_columns(scores) if row.kind == "large_move"]
    assert [row.timestamp.minute // 5 for row in rows] == [5, 7, 9]
    assert {row.episode_last.minute for row in rows} == {50}


def test_the_way_back_is_a_row_as_well() -> None:
    scores = jumps({}, kind="large_move_p")
    for row, p, price in ((5, 1e-5, 104), (9, 1e-4, 98)):
        scores["large_move_p"][row], scores["price"][row], scores["large_move_before"][row] = p, price, 1
    assert [row.direction for row in detect_columns(scores)] == ["up", "down"]


def test_each_day_has_its_own_large_moves() -> None:
    """A day must not rely on a row of another, which another calibration may not have flagged."""
    prices = 100 + 0.01 * (np.arange(30) % 3)
    prices[20:] += 5 - 4 * 0.02
    quotes = series(prices, 86_400 - 22 * 300 + np.arange(30) * 300)
    p = {20: 1e-6, 21: 1e-5, 22: 1e-5, 23: 1e-4}
    scores = scores_of(quotes, large_move_p=p, large_move_before=dict.fromkeys(p, 10))
    rows = [row for row in detect_columns(scores) if row.kind == "large_move"]
    assert [row.timestamp.minute for row in rows] == [50, 0]
    assert rows[0].episode_id == rows[1].episode_id


def test_kinds_have_episodes_of_their_own() -> None:
    scores = jumps({5: 1e-4})
    scores["large_move_p"][6] = 1e-4
    jump, large = detect_columns(scores)
    assert (jump.kind, large.kind) == ("jump", "large_move")
    assert jump.episode_id != large.episode_id


def test_ids_are_digests_that_a_recomputation_finds_again() -> None:
    rows = detect_columns(jumps({5: 1e-4, 42: 1e-4}))
    assert [row.id for row in rows] == [row.id for row in detect_columns(jumps({5: 1e-4, 42: 1e-4}, size=50))]
    assert all(len(row.id) == 32 and set(row.id) <= set("0123456789abcdef") for row in rows)
    assert rows[0].id == "aa85f732a1b403a1087548af845609eb"


@pytest.mark.parametrize(
    ("after", "verdict", "minutes"),
    [
        ([102] * 12, "persisted", 60),
        ([101.1] * 12, "persisted", 60),
        ([104] * 12, "persisted", 60),
        ([102] * 11 + [100.5], "reverted", 60),
        ([102] * 5 + [98] * 7, "reverted", 60),
        ([100.8] * 13 + [101.2], "persisted", 70),
        ([100.8] * 13 + [100.1], "reverted", 70),
        ([100.8] * 60, "reverted", 240),
        ([102] * 11, None, None),
        ([100.8] * 40, None, None),
    ],
)
def test_a_move_is_confirmed_an_hour_later_or_when_it_is_clear(
    after: list[float], verdict: str | None, minutes: int
) -> None:
    prices = np.array([100.0, 100.01, 100.0, 102.0, *after])
    prices[4:] += 0.001 * (np.arange(len(after)) % 2)
    [row] = [
        row
        for row in detect_columns(scores_of(series(prices, np.arange(len(prices)) * 300), jump_p={3: 1e-4}))
        if row.kind == "jump"
    ]
    assert row.confirmation == verdict
    if verdict is None:
        assert (row.confirmed_at, row.confirmed_price) == (None, None)
    else:
        assert row.confirmed_at == row.timestamp + timedelta(minutes=minutes)
        assert row.confirmed_price == prices[3 + minutes // 5]


def test_in_hourly_quotes_the_next_one_confirms() -> None:
    [row] = detect_columns(jumps({5: 1e-4}, gap=3590))
    assert (row.confirmation, row.confirmed_at) == ("persisted", row.timestamp + timedelta(seconds=3590))


def test_the_first_quote_after_a_long_outage_decides_by_half() -> None:
    prices, seconds = [100, 100.01, 100, 102, 100.9], [0, 300, 600, 900, 40_000]
    [row] = [row for row in detect_columns(scores_of(series(prices, seconds), jump_p={3: 1e-4})) if row.kind == "jump"]
    assert (row.confirmation, row.confirmed_price) == ("reverted", 100.9)


def test_leaving_the_market_is_not_confirmed() -> None:
    [row] = detect_columns(jumps({5: 1e-4}, kind="residual_p"))
    assert (row.kind, row.confirmation) == ("idiosyncratic", None)
