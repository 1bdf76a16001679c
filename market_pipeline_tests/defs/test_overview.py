"""The overview: numbers per symbol, the last day's anomalies, and a picture that is not drawn too often."""

import base64
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

from market_pipeline.anomalies.anomaly import alarm_mask
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.defs.assets.market_overview import (
    alarm_records, alarms_digest, is_due, overview_numbers, overview_sentence,
)

pytestmark = pytest.mark.slow

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def test_the_overview_holds_a_number_per_symbol_and_one_picture(world):
    yesterday = world.days_ago(1)
    world.complete(world.days_ago(2), yesterday)
    world.tick()
    metadata = world.latest_metadata("market_overview")
    newest = {row["symbol"]: row["price"] for row in world.prices()}
    for symbol in world.symbols:
        assert metadata[f"price_{symbol}"] == newest[symbol]
        assert -60 < metadata[f"change_24h_percent_{symbol}"] < 60
        assert metadata[f"anomalies_24h_{symbol}"] >= 0


def test_the_picture_is_a_png_and_is_not_stored_again_within_the_hour(world):
    world.tick()
    first = world.latest_metadata("market_overview")
    picture = base64.b64decode(first["chart"].split("base64,")[1].rstrip(")"))
    assert picture.startswith(b"\x89PNG")
    assert len(first["chart"]) < 100_000
    world.tick()
    second = world.latest_metadata("market_overview")
    assert "chart" not in second
    assert second["chart_drawn_at"] == first["chart_drawn_at"]


def test_a_new_anomaly_is_in_the_table_and_brings_a_new_picture(world):
    world.tick()
    newest = {row["symbol"]: row for row in world.prices()}["BTC"]
    world.insert(
        symbol="BTC", timestamp=newest["timestamp"] - timedelta(minutes=5), price=newest["price"] / 2
    )
    world.tick()
    metadata = world.latest_metadata("market_overview")
    assert metadata["anomalies_24h_BTC"] >= 1
    assert "chart" in metadata
    assert any(record.data["symbol"] == "BTC" for record in metadata["anomalies_last_24_hours"].records)


def rows(*given):
    """Anomalies with these columns; of the others a picture's due time knows nothing."""
    names = ("symbol", "id", "event_id", "kind", "severity", "scope", "move", "members", "explanation")
    usual = {"symbol": "BTC", "kind": "jump", "severity": "alert", "scope": "market", "move": 0.012}
    full = [{"timestamp": NOON, **usual, "explanation": "It moved.", **row} for row in given]
    arrays = {name: np.array([row.get(name) for row in full], dtype=object) for name in names}
    arrays["timestamp"] = np.array([row["timestamp"].replace(tzinfo=None) for row in full], "datetime64[us]")
    return Columns(arrays)


def test_a_picture_is_due_at_first_after_an_hour_or_for_a_new_alarm():
    none, one = rows(), rows({"id": "a"})
    now = NOON + timedelta(minutes=30)
    assert is_due(now, None, None, none)
    charted = alarms_digest(none, NOON)
    assert not is_due(NOON + timedelta(minutes=59), NOON, charted, none)
    assert is_due(NOON + timedelta(minutes=60), NOON, charted, none)
    assert is_due(now, NOON, charted, one)
    assert not is_due(now, NOON, alarms_digest(one, NOON), one)
    member = rows({"id": "b", "event_id": "a"})
    assert not is_due(now, NOON, charted, member), "it is no alarm of its own"


def test_a_market_event_is_one_line_and_one_anomaly():
    event = {"id": "e", "event_id": "e", "kind": "market_move", "severity": "critical"}
    members = [{"symbol": name, "id": name, "event_id": "e"} for name in ("SOL", "BTC", "ETH")]
    alone = {"symbol": "ADA", "id": "x", "move": -0.2, "scope": "idiosyncratic"}
    found = rows({**event, "symbol": "SOL", "members": "SOL,BTC,ETH"}, *members, alone)
    alarms = found.where(alarm_mask(found))
    assert [(row["symbol"], row["kind"], row["severity"], row["move"]) for row in alarm_records(alarms)] == [
        ("SOL,BTC,ETH", "market_move", "critical", "+1.20%"),
        ("ADA", "jump", "alert", "-20.00%"),
    ]
    assert [row["time_utc"] for row in alarm_records(alarms)] == ["2026-05-01 12:00"] * 2
    numbers = overview_numbers(["BTC", "SOL", "ADA"], {}, {}, alarms)
    of_coins = {"anomalies_24h_BTC": 0, "anomalies_24h_SOL": 1, "anomalies_24h_ADA": 1}
    assert numbers == {"market_events_24h": 1, **of_coins}
    said = overview_sentence(alarms, ["BTC"], ["BTC"], NOON)
    assert said == "2 anomalies, 1 of them critical, in the 24 hours before 2026-05-01T12:00:00Z."


def test_an_empty_database_has_an_overview_that_says_so(world):
    from market_pipeline.simulator.faults import Fault

    world.simulator.add_fault(Fault(kind="empty_object"))
    assert world.tick().success
    assert "No quotes yet: BTC, ETH" in world.latest_metadata("market_overview")["summary"]
    assert utc_now().strftime("%Y-%m-%d") in world.latest_metadata("market_overview")["summary"]


def test_a_change_over_24_hours_is_not_told_of_a_price_that_is_days_old(world):
    world.insert(symbol="BTC", timestamp=utc_now() - timedelta(days=6), price=1.0)
    world.tick()
    metadata = world.latest_metadata("market_overview")
    assert "price_BTC" in metadata
    assert "change_24h_percent_BTC" not in metadata
