"""What later quotes may change: only what is still open, and only while it is open.

Detection over quotes up to a time must give the same rows as detection over all of them, except

- the numbers of an episode or a market event that went on: its peak, and what follows from it;
- a confirmation that no quote had decided yet;
- for two minutes what another coin's quote may decide: the scope, and the coin of a market event; for one
  quote a gap that hourly history explains; for two changed quotes a jump that becomes a bad tick;
- the link of a coin's row to a market event that begins up to an hour later.
"""

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.columns import Columns
from market_pipeline_tests.anomalies.quotes import to_datetime, world

# Longer than anything stays open in these worlds, whose outages last half an hour.
SETTLED = timedelta(hours=5)
HOUR = timedelta(hours=1)
OPEN_MOVES = {"jump", "large_move", "idiosyncratic", "market_move"}


def rows_until(prices: Columns, end: datetime) -> dict[str, Anomaly]:
    cut = prices.where(prices["timestamp"] <= np.datetime64(end.replace(tzinfo=None)))
    return {row.id: row for row in detect_columns(score_columns(cut))}


def closed(row: Anomaly, other: Anomaly) -> Anomaly:
    """`row` with the verdict of `other` where it had none."""
    if row.confirmation is None:
        row = replace(
            row, confirmation=other.confirmation, confirmed_at=other.confirmed_at, confirmed_price=other.confirmed_price
        )
    return row


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_settled_rows_never_change(seed: int) -> None:
    prices = world(seed)
    last = to_datetime(prices["timestamp"].max())
    whole = rows_until(prices, last)
    kinds = {row.kind for row in whole.values()}
    assert {"jump", "large_move", "market_move", "bad_tick", "user_threshold"} <= kinds
    for hours in (3, 9, 17, 26):
        end = last - timedelta(hours=hours, minutes=7 * hours % 11)
        before = rows_until(prices, end)
        settled = {key for key, row in whole.items() if row.timestamp <= end - SETTLED}
        assert settled == {key for key, row in before.items() if row.timestamp <= end - SETTLED} != set()
        for key in settled:
            # An episode is open for an hour, and may grow again later.
            if before[key].episode_last < end - HOUR and before[key].episode_last == whole[key].episode_last:
                assert closed(before[key], whole[key]) == whole[key]


def ids_of_quote(rows: dict[str, Anomaly], row: Anomaly) -> set[str]:
    return {each.id for each in rows.values() if (each.symbol, each.timestamp) == (row.symbol, row.timestamp)}


@pytest.mark.parametrize("seed", [4, 5])
def test_open_rows_change_only_in_what_is_open(seed: int) -> None:
    prices = world(seed, hours=30)
    last = to_datetime(prices["timestamp"].max())
    whole = rows_until(prices, last)
    ticks = {(row.symbol, row.timestamp) for row in whole.values() if row.kind == "bad_tick"}
    for minutes in range(60, 600, 90):
        end = last - timedelta(minutes=minutes)
        known = rows_until(prices, end)
        for key, row in known.items():
            later = whole.get(key)
            if later is None:
                became_bad_tick = any(
                    symbol == row.symbol and row.timestamp_before <= at <= row.timestamp for symbol, at in ticks
                )
                assert row.kind in OPEN_MOVES
                assert became_bad_tick or end - row.detected_at <= timedelta(minutes=2)
                continue
            assert row.timestamp_before == later.timestamp_before
            if row.event_id != later.event_id:
                continue
            assert (row.episode_first, row.direction) == (later.episode_first, later.direction)
            if row.episode_last == later.episode_last:
                assert (row.move, row.score, row.p_calibrated) == (later.move, later.score, later.p_calibrated)
            else:
                assert row.episode_peak <= later.episode_peak and row.episode_last < later.episode_last
                name = "market_move" if row.kind == "market_move" else "move"
                assert abs(getattr(row, name)) <= abs(getattr(later, name)) + 1e-3


def test_nothing_flagged_depends_on_the_order_of_the_rows() -> None:
    prices = world(6, hours=24)
    order = np.argsort(prices["timestamp"], kind="stable")
    mixed = Columns({name: values[order] for name, values in prices.arrays.items()})
    assert detect_columns(score_columns(mixed)) == detect_columns(score_columns(prices)) != []
