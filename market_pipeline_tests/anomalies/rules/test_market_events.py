"""A market that moves as a whole is one event with its members, not an alarm per coin."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import START, scores_of, series

SYMBOLS = ("ADA", "BTC", "ETH", "SOL")
SIZE = 40


def market(
    falls: Sequence[float],
    triggers: Iterable[int] = (20,),
    start: float = 0,
    again: Sequence[tuple[int, Sequence[str], float]] = (),
    **values: Mapping[int, Any],
) -> Columns:
    """Coins quoted together every five minutes; `falls` is what each loses at quote number 20.

    The market's p is 1e-5 at `triggers`, and each coin that falls has a jump there.
    """
    coins = []
    for number, (symbol, fall) in enumerate(zip(SYMBOLS, falls, strict=False)):
        prices = 100 + 0.01 * ((np.arange(SIZE) + number) % 3)
        prices[20:] *= 1 - fall
        for row, symbols, factor in again:
            prices[row:] *= factor if symbol in symbols else 1
        coins.append(series(prices, start + np.arange(SIZE) * 300, symbol))
    fallen = {number * SIZE + 20: 1e-5 for number, fall in enumerate(falls) if fall}
    market_p = {number * SIZE + row: 1e-5 for number in range(len(falls)) for row in triggers}
    scopes: Mapping[int, Any] = dict.fromkeys(fallen, "market")
    defaults: dict[str, Mapping[int, Any]] = {"market_p": market_p, "jump_p": fallen, "scope": scopes}
    return scores_of(*coins, **{**defaults, **values})


def test_one_row_links_its_members() -> None:
    rows = detect_columns(market([0.02, 0.01, 0.015, 0.04]))
    [event] = [row for row in rows if row.kind == "market_move"]
    assert (event.symbol, event.scope, event.direction, event.event_id) == ("SOL", "market", "down", event.id)
    assert event.members == "SOL,ADA,ETH,BTC"
    assert event.move == pytest.approx(-0.04, abs=1e-3)
    assert event.peers_moved == 3 and event.severity == "critical"
    assert [row.kind for row in rows].count("jump") == 4
    assert {row.event_id for row in rows} == {event.id}
    assert {row.scope for row in rows} == {"market"}
    assert alarms(rows) == [event]


@pytest.mark.parametrize(("falls", "events"), [([0.02, 0.02], 0), ([0.02, 0.02, 0.02], 1), ([0.02, 0.02, 0, 0], 0)])
def test_a_market_has_three_coins_of_which_most_moved(falls: list[float], events: int) -> None:
    rows = detect_columns(market(falls))
    assert [row.kind for row in rows].count("market_move") == events


def test_coins_that_move_apart_are_no_market_move() -> None:
    assert "market_move" not in {row.kind for row in detect_columns(market([0.02, -0.02, 0.02, -0.02]))}


def test_a_coin_that_moves_alone_during_an_event_stands_on_its_own() -> None:
    scope = {20: "market", 60: "market", 100: "market", 140: "idiosyncratic"}
    rows = detect_columns(market([0.02, 0.02, 0.02, -0.03], scope=scope))
    assert sorted(row.kind for row in alarms(rows)) == ["jump", "market_move"]
    assert [(row.symbol, row.event_id) for row in rows if row.scope == "idiosyncratic"] == [("SOL", None)]


@pytest.mark.parametrize(("residual_p", "links"), [(1e-5, 0), (0.1, 1)])
def test_against_the_event_a_partly_own_move_is_linked_unless_its_rest_is_flagged(
    residual_p: float, links: int
) -> None:
    scores = market(
        [0.02, 0.02, 0.02, 0.02],
        again=[(23, ["SOL"], 1.03)],
        jump_p={143: 1e-5},
        scope={143: "mixed"},
        residual_p={143: residual_p},
    )
    [row] = [row for row in detect_columns(scores) if row.kind == "jump"]
    assert (row.event_id is not None) == bool(links)


def test_a_member_that_went_further_than_the_market_is_mixed() -> None:
    """It is a member all the same, as it moved with the event."""
    scopes = {20: "market", 60: "market", 100: "market", 140: "mixed"}
    scores = market([0.02, 0.02, 0.02, 0.08], scope=scopes, residual_p={140: 1e-5}, residual_z={140: -6.0})
    rows = {(row.symbol, row.kind): row for row in detect_columns(scores)}
    assert rows["SOL", "jump"].scope == "mixed"
    assert rows["SOL", "jump"].event_id == rows["SOL", "market_move"].id
    assert rows["ADA", "jump"].scope == "market"


def test_triggers_within_an_hour_are_one_event_as_rare_as_its_peak() -> None:
    worst = {row: 1e-5 for row in (20, 60, 100, 140)} | {row + 8: 1e-9 for row in (20, 60, 100, 140)}
    [event] = alarms(detect_columns(market([0.02, 0.02, 0.02, 0.03], triggers=(20, 28), market_p=worst)))
    assert (event.severity, event.p_calibrated) == ("critical", 1e-9) and event.score == pytest.approx(9)
    assert event.expected_every_days == pytest.approx(300 / 86_400 / 1e-9)
    assert event.episode_first == event.timestamp
    assert event.episode_last == event.episode_peak == event.timestamp + timedelta(minutes=40)


def test_triggers_more_than_an_hour_apart_are_two_events() -> None:
    scores = market([0.02, 0.02, 0.02, 0.03], triggers=(20, 33), again=[(33, SYMBOLS, 0.97)])
    events = alarms(detect_columns(scores))
    assert [event.kind for event in events] == ["market_move"] * 2
    assert len({event.episode_id for event in events}) == 2


def test_an_event_begins_again_at_midnight_in_the_same_episode() -> None:
    """The rows of a day do not refer to rows of another."""
    start = 86_400 - 22 * 300
    rows = detect_columns(market([0.02, 0.02, 0.02, 0.03], triggers=range(20, 26), start=start))
    first, second = (row for row in rows if row.kind == "market_move")
    assert first.timestamp.day + 1 == second.timestamp.day
    assert second.episode_id == first.episode_id == first.id != second.id
    assert all(row.event_id == first.id for row in rows if row.kind == "jump")


def test_the_row_keeps_its_id_while_the_event_goes_on() -> None:
    """Another coin may fall further later; the alarm does not change its name for it."""
    worst = {row: 1e-5 for row in (20, 60, 100, 140)} | {64: 1e-9}
    scores = market([0.02, 0.02, 0.02, 0.03], market_p=worst, again=[(24, ["ADA"], 0.8)])
    [event] = alarms(detect_columns(scores))
    assert event.symbol == "SOL"
    assert (event.members or "").startswith("ADA,SOL")
    assert event.episode_peak == START + timedelta(hours=2) and event.move == pytest.approx(-0.03, abs=1e-3)


def test_large_moves_of_members_are_linked_by_the_market_over_their_own_time() -> None:
    """Whatever its last step was: over the hour the coin fell with the others."""
    scores = market(
        [0.02, 0.02, 0.02, 0.02],
        scope={24: "idiosyncratic"},
        large_move_p={24: 1e-4},
        large_move_before={24: 12},
        large_move_score={24: 3.0},
    )
    rows = [row for row in detect_columns(scores) if row.kind == "large_move"]
    assert [(row.scope, row.event_id is not None) for row in rows] == [("market", True)]
    assert rows[0].market_z == pytest.approx(-3.1, abs=0.2)


def test_the_market_in_its_warm_up_makes_no_event() -> None:
    quality = dict.fromkeys(range(4 * SIZE), "warm_up")
    assert "market_move" not in {row.kind for row in detect_columns(market([0.02] * 4, quality=quality))}


def test_an_event_is_confirmed_by_its_own_coin() -> None:
    [event] = alarms(detect_columns(market([0.02, 0.02, 0.02, 0.04])))
    assert (event.confirmation, event.confirmed_at) == ("persisted", event.timestamp + timedelta(hours=1))


@pytest.mark.parametrize(("gap", "second"), [(300, 65), (4_000, 51)])
def test_a_coin_whose_quotes_have_stopped_leads_no_second_event(gap: int, second: int) -> None:
    """Its last quote leads the first already, and a coin's quote has one row of a kind."""
    coins: list[PriceSeries] = []
    triggers: dict[int, float] = {}
    for symbol in ("BTC", "ETH", "SOL"):
        prices = 100 + 0.01 * (np.arange(80) % 3)
        prices[50:] *= 0.9 if symbol == "SOL" else 0.95
        seconds = np.arange(80) * gap
        quoted = (seconds <= 50 * gap) | (symbol != "SOL")
        triggers |= {len(coins) * 80 + row: 1e-5 for row in (50, second) if symbol != "SOL"}
        coins.append(series(prices[quoted], seconds[quoted], symbol))
    rows = [row for row in detect_columns(scores_of(*coins, market_p=triggers)) if row.kind == "market_move"]
    assert [(row.symbol, row.timestamp) for row in rows if row.symbol == "SOL"] == [
        ("SOL", START + timedelta(seconds=50 * gap))
    ]
    assert len({row.id for row in rows}) == len(rows) == 2
    assert all(row.timestamp >= row.episode_first for row in rows)
