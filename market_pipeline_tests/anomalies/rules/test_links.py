"""Several rules about one quote are one thing to look at."""

from typing import Any

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.links import link_same_quote
from market_pipeline.anomalies.rules.score_table import ScoreTable, group
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns


@pytest.fixture(scope="module")
def table() -> ScoreTable:
    times = np.datetime64("2026-11-01", "us") + np.arange(10) * np.timedelta64(5, "m")
    prices = {"symbol": np.full(10, "BTC", dtype=object), "timestamp": times, "price": np.linspace(100.0, 101.0, 10)}
    return group(score_columns(Columns(prices)))


def candidate(kind: Kind, at: int, p: float, **changes: Any) -> Candidate:
    return Candidate(kind, at, at - 1, 1.0, 1.0, p=p, **changes)


def test_the_rarest_row_represents_the_others(table: ScoreTable) -> None:
    rows = link_same_quote(table, [candidate(Kind.USER_THRESHOLD, 5, 1e-4), candidate(Kind.LARGE_MOVE, 5, 1e-6)])
    assert [row.event_id for row in rows] == [id_of(table, Kind.LARGE_MOVE, 5), None]


def test_of_equally_rare_rows_the_jump_represents_the_two_point_rule(table: ScoreTable) -> None:
    rows = link_same_quote(table, [candidate(Kind.USER_THRESHOLD, 5, 1e-4), candidate(Kind.JUMP, 5, 1e-4)])
    assert [row.event_id for row in rows] == [id_of(table, Kind.JUMP, 5), None]


def test_an_unknown_probability_never_leads(table: ScoreTable) -> None:
    rows = link_same_quote(
        table, [candidate(Kind.USER_THRESHOLD, 5, float("nan")), candidate(Kind.LARGE_MOVE, 5, 1e-3)]
    )
    assert rows[1].event_id is None and rows[0].event_id is not None


def test_rows_of_different_quotes_stand_on_their_own(table: ScoreTable) -> None:
    rows = link_same_quote(table, [candidate(Kind.JUMP, 5, 1e-4), candidate(Kind.LARGE_MOVE, 6, 1e-4)])
    assert [row.event_id for row in rows] == [None, None]


def test_members_of_an_event_neither_lead_nor_change_sides(table: ScoreTable) -> None:
    member = candidate(Kind.LARGE_MOVE, 5, 1e-9, event_id="event")
    rows = link_same_quote(table, [member, candidate(Kind.JUMP, 5, 1e-4)])
    assert [row.event_id for row in rows] == ["event", None]


def test_a_stale_feed_at_the_same_quote_is_another_thing(table: ScoreTable) -> None:
    rows = link_same_quote(table, [candidate(Kind.STALE_FEED, 5, float("nan")), candidate(Kind.JUMP, 5, 1e-4)])
    assert [row.event_id for row in rows] == [None, None]
