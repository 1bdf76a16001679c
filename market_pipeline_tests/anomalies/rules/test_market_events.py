"""A market that moves as a whole is one event with its members, not an alarm per coin."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly, alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series

SYMBOLS = ("ADA", "BTC", "ETH", "SOL")
SIZE = 60
FALL = (0.03, 0.02, 0.025, 0.05)
Steps = Mapping[int, float | Sequence[float]]


def market(steps: Steps, triggers: Mapping[int, tuple[float, float]], **values: Mapping[int, Any]) -> Columns:
    """Four coins quoted together every five minutes; `steps` are the returns at quotes, of all or of each.

    At each of `triggers` the market has moved in a direction for so many minutes, and does so once in 100 days.
    `values` are those of the coins, by their number and the number of the quote: `{3 * SIZE + 20: ...}` is SOL's.
    """
    coins = []
    for number, symbol in enumerate(SYMBOLS):
        prices = 100 + 0.01 * ((np.arange(SIZE) + number) % 3)
        for row, step in steps.items():
            prices[row:] *= 1 + (step if isinstance(step, float) else step[number])
        coins.append(series(prices, np.arange(SIZE) * 300, symbol))
    flagged: dict[str, dict[int, Any]] = {"market_days": {}, "market_direction": {}, "market_horizon": {}}
    for row, (direction, minutes) in triggers.items():
        for first in range(0, len(SYMBOLS) * SIZE, SIZE):
            flagged["market_days"][first + row] = 100.0
            flagged["market_direction"][first + row] = direction
            flagged["market_horizon"][first + row] = minutes
    return scores_of(*coins, **{**flagged, **values})


def down(*steps: float) -> tuple[float, ...]:
    return tuple(-step for step in steps)


def events(scores: Columns) -> list[Anomaly]:
    return [row for row in detect_columns(scores) if row.kind == "market_move"]


def jumps_at(row: int, numbers: Sequence[int] = range(4), scope: str = "market") -> dict[str, dict[int, Any]]:
    """A jump of each of these coins at a quote, with the market by its scores."""
    places = [number * SIZE + row for number in numbers]
    return {"jump_p": dict.fromkeys(places, 1e-5), "scope": dict.fromkeys(places, scope)}


def test_one_row_links_its_members() -> None:
    rows = detect_columns(market({20: down(*FALL)}, {20: (-1, 5)}, **jumps_at(20)))
    [event] = [row for row in rows if row.kind == "market_move"]
    assert (event.symbol, event.scope, event.direction, event.event_id) == ("SOL", "market", "down", event.id)
    assert event.members == "SOL,ADA,ETH,BTC" and event.peers_moved == 3
    assert [event.move, event.market_move] == pytest.approx([-0.05, -0.0275], abs=1e-3)
    assert [event.expected_every_days, event.horizon_minutes, event.score] == pytest.approx([100, 5, 2])
    assert [row.kind for row in rows].count("jump") == 4
    assert {row.event_id for row in rows} == {event.id}
    assert alarms(rows) == [event]
    assert (event.confirmation, event.confirmed_at) == ("persisted", event.timestamp + timedelta(hours=1))


def test_the_row_tells_the_whole_event_so_far_and_keeps_its_id() -> None:
    """From where the move began to its peak, also where another coin falls further later."""
    steps: Steps = {18: -0.01, 20: down(0.02, 0.02, 0.02, 0.03), 22: down(0.09, 0.03, 0.03, 0.02), 23: 0.01}
    triggers = {20: (-1, 15), 22: (-1, 15), 23: (-1, 60)}
    first, grown, last = (
        events(market({row: step for row, step in steps.items() if row <= end}, {at: triggers[at] for at in flagged}))
        for end, flagged in ((21, [20]), (22, [20, 22]), (60, [20, 22, 23]))
    )
    assert {row.id for row in (*first, *grown, *last)} == {first[0].id} and len(last) == 1
    assert [round(row.market_move or 0, 2) for row in (first[0], grown[0], last[0])] == [-0.03, -0.06, -0.06]
    assert [row.elapsed_seconds / 60 for row in (first[0], grown[0], last[0])] == [15, 25, 25]
    assert (first[0].members, last[0].members) == ("SOL,ADA,BTC,ETH", "ADA,ETH,SOL,BTC")
    assert (last[0].symbol, last[0].episode_peak) == ("SOL", last[0].timestamp + timedelta(minutes=10))


@pytest.mark.parametrize(
    ("falls", "count"),
    [([0.02, 0.02, 0.0, 0.0], 0), ([0.02, 0.02, 0.02, 0.0], 1), ([0.02, -0.02, 0.02, -0.02], 0), ([0.003] * 4, 0)],
    ids=["two coins", "three coins", "apart", "below the floor"],
)
def test_most_coins_must_have_moved_the_same_way_and_enough(falls: Sequence[float], count: int) -> None:
    assert len(events(market({20: down(*falls)}, {20: (-1, 5)}))) == count


@pytest.mark.parametrize(
    ("falls", "jumping", "alarm"),
    [(FALL, 3, "market_move"), (FALL, 2, "market_move"), (FALL, 1, "jump"), ((0.02, 0.02, 0.0, 0.0), 2, "jump")],
    ids=["three", "two, and others moved", "one", "two, and others stood"],
)
def test_coins_that_jump_together_are_an_event_though_the_market_score_is_low(
    falls: Sequence[float], jumping: int, alarm: str
) -> None:
    rows = detect_columns(market({20: down(*falls)}, {}, **jumps_at(20, range(jumping))))
    assert {row.kind for row in alarms(rows)} == {alarm}
    for row in rows:
        assert row.score >= row.threshold and row.direction == "down"


def test_three_coins_flagged_with_the_market_within_an_hour_are_an_event() -> None:
    """So are large moves that each coin reaches at its own time."""
    values: dict[str, dict[int, Any]] = {"large_move_days": {}, "large_move_before": {}}
    for number, row in ((0, 21), (1, 25), (2, 30)):
        values["large_move_days"][number * SIZE + row] = 20.0
        values["large_move_before"][number * SIZE + row] = number * SIZE + row - 8
    steps: Steps = dict.fromkeys(range(16, 31), -0.005)
    rows = detect_columns(market(steps, {}, **values))
    [event] = alarms(rows)
    assert (event.kind, set((event.members or "").split(",")), len(rows)) == ("market_move", set(SYMBOLS), 4)


def test_a_second_leg_of_the_other_sign_is_an_event_of_its_own_within_the_hour() -> None:
    rows = detect_columns(market({20: -0.04, 25: 0.03}, {20: (-1, 5), 25: (1, 5)}, **jumps_at(25)))
    fall, rise = sorted((row for row in rows if row.kind == "market_move"), key=lambda row: row.timestamp)
    assert (fall.direction, rise.direction) == ("down", "up")
    assert rise.timestamp - fall.timestamp == timedelta(minutes=25)
    assert {row.event_id for row in rows if row.kind == "jump"} == {rise.id}


@pytest.mark.parametrize(("recovered", "count"), [(0.025, 2), (0.01, 1)])
def test_a_second_leg_after_recovery_is_an_event_of_its_own(recovered: float, count: int) -> None:
    found = events(market({20: -0.04, 22: recovered, 26: -0.04}, {20: (-1, 5), 26: (-1, 15)}))
    assert len(found) == count and {row.direction for row in found} == {"down"}


def test_hours_in_which_the_price_of_before_is_far_away_are_no_second_event() -> None:
    late = {row: (-1.0, 240.0) for row in range(35, 58)}
    [event] = events(market({20: -0.04, 30: 0.005}, {20: (-1, 5), **late}))
    assert event.episode_last == event.episode_peak == event.timestamp
    assert len(events(market({20: -0.04, 45: -0.05}, {20: (-1, 5), 45: (-1, 240)}))) == 2, "but a new fall is"


def test_later_jumps_inside_the_event_are_members_whatever_their_last_step_was() -> None:
    """A large move counts over its own time: over the hour the coin fell with the others."""
    large: dict[str, dict[int, Any]] = {"large_move_days": {24: 50.0}, "large_move_before": {24: 12}}
    values = {**jumps_at(22, [1]), **large}
    values["scope"][24] = "idiosyncratic"
    steps: Steps = {20: -0.03, 22: -0.02, 24: down(0.01, 0, 0, 0)}
    rows = detect_columns(market(steps, {20: (-1, 5), 22: (-1, 15)}, **values))
    assert [row.kind for row in alarms(rows)] == ["market_move"]
    assert [row.scope for row in rows] == ["market"] * 3


@pytest.mark.parametrize(
    ("scope", "residual_p", "alone"),
    [("market", 1e-5, False), ("mixed", 0.1, False), ("mixed", 1e-5, True), ("idiosyncratic", 0.1, True)],
)
def test_what_a_coin_does_alone_or_far_beyond_the_market_is_an_alarm_of_its_own(
    scope: str, residual_p: float, alone: bool
) -> None:
    values = {**jumps_at(20, [3], scope), "residual_p": {3 * SIZE + 20: residual_p}}
    rows = detect_columns(market({20: down(0.02, 0.02, 0.02, 0.045)}, {20: (-1, 5)}, **values))
    assert [row.kind for row in alarms(rows) if row.symbol == "SOL"] == ["jump"] * alone + ["market_move"]


def test_against_the_event_a_partly_own_move_stands_on_its_own() -> None:
    values = jumps_at(23, [3], "mixed")
    rows = detect_columns(market({20: -0.03, 23: (0.0, 0.0, 0.0, 0.03)}, {20: (-1, 5)}, **values))
    assert [row.kind for row in alarms(rows)] == ["market_move", "jump"]


def test_the_market_in_its_warm_up_makes_no_event() -> None:
    quality = dict.fromkeys(range(4 * SIZE), "warm_up")
    assert events(market({20: -0.03}, {20: (-1, 5)}, quality=quality)) == []


def test_a_coin_whose_quotes_have_stopped_neither_leads_nor_counts() -> None:
    coins = []
    for symbol in SYMBOLS:
        prices = 100 + 0.01 * (np.arange(SIZE) % 3)
        prices[25:] *= 0.9 if symbol == "SOL" else 0.96
        prices[45:] *= 0.95
        quoted = np.arange(SIZE) <= (30 if symbol == "SOL" else SIZE)
        coins.append(series(prices[quoted], np.arange(SIZE)[quoted] * 300, symbol))
    at = {25: 100.0, 45: 100.0}
    scores = scores_of(*coins, market_days=at, market_direction=dict.fromkeys(at, -1.0))
    first, second = sorted(events(scores), key=lambda row: row.timestamp)
    assert (first.symbol, second.symbol) == ("SOL", "ADA")
    assert (first.members, second.members) == ("SOL,ADA,BTC,ETH", "ADA,BTC,ETH")
    assert "3 of 3" in second.explanation
