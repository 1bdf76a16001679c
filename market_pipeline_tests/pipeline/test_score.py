"""What a run of `price_anomalies` tells of the alarms that it found."""

from dataclasses import fields, replace
from datetime import timedelta
from typing import Any

import pytest

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.pipeline.score import anomaly_facts, new_alarms
from market_pipeline_tests.builders import START, anomaly_row, at

HOUR = timedelta(hours=1)


def alarm(minutes: float, importance: float | None = None, **changes: Any) -> Anomaly:
    row = anomaly_row("BTC", minutes, importance=importance, headline=f"Alarm {minutes}.", **changes)
    return Anomaly(**{field.name: row[field.name] for field in fields(Anomaly)})


def test_a_day_is_told_by_its_most_important_alarm() -> None:
    rows = [alarm(0), alarm(5, 2.0), alarm(10, 1.0), alarm(15, 9.0, event_id="another")]
    facts = anomaly_facts(rows, [(START.date(), "BTC"), (START.date(), "ETH")])
    assert facts[START.date(), "BTC"]["headline"] == "Alarm 5."
    assert "headline" not in facts[START.date(), "ETH"]


@pytest.mark.parametrize(("newest", "now", "new"), [(10, 12, ["Alarm 10."]), (15, 17, []), (10, 80, [])])
def test_an_alarm_is_new_with_the_quote_that_revealed_it(newest: float, now: float, new: list[str]) -> None:
    """A day is scored again with each tick, and a past day is no news."""
    late = replace(alarm(5), detected_at=at(10), event_id="another")
    found = new_alarms([alarm(5), alarm(10), late], {"BTC": at(newest)}, at(now))
    assert [row.headline for row in found] == new
