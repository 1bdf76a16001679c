"""Live quotes of several coins come seconds to a minute apart; the first must not look alone."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import alarms
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import scores_of, series

OFFSETS = {"BTC": 0, "ADA": 25, "ETH": 50, "SOL": 100}
SIZE = 30


def crash(
    last: int = SIZE, late: int = 0, falls: Sequence[float] = (0.02, 0.02, 0.02, 0.02), kind: str = "jump_p"
) -> Columns:
    """All coins fall by 2% at quote number 20, each seconds after the one before.

    By its scores the first looks alone, as no other had been quoted since.
    """
    coins = []
    for number, ((symbol, offset), fall) in enumerate(zip(OFFSETS.items(), falls, strict=True)):
        prices = 100 + 0.01 * ((np.arange(SIZE) + number) % 3)
        prices[20:] *= 1 - fall
        seconds = np.arange(SIZE) * 300 + offset + (late if number else 0)
        quoted = seconds <= last * 300
        coins.append(series(prices[quoted], seconds[quoted], symbol))
    alone: dict[str, Mapping[int, Any]] = {
        "scope": {20: "idiosyncratic"},
        "market_z": {20: 0.1},
        "beta": {20: 1.0},
        "residual_z": {20: -9.0},
    }
    return scores_of(*coins, **{kind: {20: 1e-5}}, **alone)


def test_quotes_of_the_next_two_minutes_show_that_the_market_moved() -> None:
    [row] = detect_columns(crash())
    assert (row.kind, row.scope, row.peers_moved) == ("jump", "market", 3)
    assert row.market_z == pytest.approx(row.z, rel=0.1)
    assert row.detected_at == row.timestamp + timedelta(seconds=100)


def test_before_they_come_the_coin_looks_alone() -> None:
    [row] = detect_columns(crash(last=20))
    assert (row.scope, row.residual_z, row.detected_at) == ("idiosyncratic", -9.0, row.timestamp)


def test_later_quotes_than_that_do_not_count() -> None:
    [row] = detect_columns(crash(late=121))
    assert (row.scope, row.detected_at) == ("idiosyncratic", row.timestamp)


def test_a_coin_that_really_moves_alone_stays_alone() -> None:
    [row] = detect_columns(crash(falls=(0.02, 0, 0, 0)))
    assert (row.scope, row.peers_moved) == ("idiosyncratic", 0)


def test_a_row_of_leaving_the_market_goes_when_the_market_follows() -> None:
    assert [row.kind for row in detect_columns(crash(last=20, kind="residual_p"))] == ["idiosyncratic"]
    assert detect_columns(crash(kind="residual_p")) == []


def test_a_move_that_no_other_coin_was_quoted_beside_is_not_called_a_coins_own() -> None:
    scores = crash(last=20, kind="residual_p")
    scores["scope"][20] = "unknown"
    assert detect_columns(scores) == []


def test_an_event_of_asynchronous_quotes_is_one_row() -> None:
    scores = crash()
    firsts = np.flatnonzero(scores["before"] < 0)
    scores["market_p"][firsts[1] + 20] = scores["market_p"][firsts[2] + 20] = 1e-5
    scores["jump_p"][firsts + 20] = 1e-5
    rows = detect_columns(scores)
    [event] = alarms(rows)
    assert (event.kind, set((event.members or "").split(","))) == ("market_move", set(OFFSETS))
    assert event.detected_at - event.timestamp <= timedelta(minutes=2)
    assert [row.kind for row in rows].count("jump") == 4
