"""What a run of `price_anomalies` tells of the alarms that it found."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.pipeline.score import anomaly_facts, new_alarms
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.builders import START, anomaly_row, at, store

HOUR = timedelta(hours=1)


def alarm(minutes: float, importance: float | None = None, **changes: Any) -> Anomaly:
    row = anomaly_row("BTC", minutes, importance=importance, headline=f"Alarm {minutes}.", **changes)
    return Anomaly(**{field.name: row[field.name] for field in fields(Anomaly)})


def test_the_headlines_of_a_day_are_those_of_its_alarms_the_most_important_first() -> None:
    rows = [alarm(0), alarm(5, 2.0), alarm(10, 1.0), alarm(15, 9.0, event_id="another")]
    facts = anomaly_facts(rows, [(START.date(), "BTC"), (START.date(), "ETH")])
    assert facts[START.date(), "BTC"]["headlines"] == ("Alarm 5.", "Alarm 10.", "Alarm 0.")
    assert "headlines" not in facts[START.date(), "ETH"]


def test_a_member_of_a_market_move_has_its_headline_with_its_own_move() -> None:
    event = alarm(5, 9.0, kind="market_move", id="event", event_id="event")
    rows = [alarm(minutes, 1.0, event_id="event", move=move) for minutes, move in ((5, -0.06), (10, -0.02))]
    members = [replace(row, symbol="ETH") for row in rows]
    facts = anomaly_facts([event, *members], [(START.date(), "BTC"), (START.date(), "ETH")])
    assert facts[START.date(), "BTC"]["headlines"] == ("Alarm 5.",)
    assert facts[START.date(), "ETH"]["headlines"] == ("Alarm 5. ETH: \N{MINUS SIGN}6.0%.",)


@pytest.mark.parametrize(("newest", "now", "new"), [(20, 22, ["Alarm 15."]), (30, 32, []), (20, 90, [])])
def test_an_alarm_is_new_with_the_quote_that_revealed_it(
    sqlite_database: Database, newest: float, now: float, new: list[str]
) -> None:
    """A day is scored again with each tick, and a past day is no news."""
    late = replace(alarm(5), detected_at=at(20), event_id="another")
    found = new_alarms(sqlite_database, [alarm(5), alarm(15), late], {"BTC": at(newest)}, at(now))
    assert [row.headline for row in found] == new


def test_an_alarm_that_is_stored_is_new_again_only_when_it_becomes_more_severe(database: Database) -> None:
    stored = [anomaly_row("BTC", minutes, severity="alert") for minutes in (0, 5, 10)]
    store(database, price_anomalies, *stored)
    calmer, same, worse = (
        alarm(minutes, severity=severity, episode_peak=at(30))
        for minutes, severity in ((0, "watch"), (5, "alert"), (10, "critical"))
    )
    assert new_alarms(database, [calmer, same, worse], {"BTC": at(30)}, at(31)) == [worse]
