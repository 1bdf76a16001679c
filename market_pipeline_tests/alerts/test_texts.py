"""What the person on call reads, each kind once, in `sentences.txt`.

After a change of wording run with UPDATE_SENTENCES=1 and read the difference.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import get_args

import pytest
from sqlalchemy.engine import make_url

from market_pipeline.alerts.episodes import advance
from market_pipeline.alerts.signals import TITLES, level_of, title_of
from market_pipeline.alerts.stops import record_started, record_stopped
from market_pipeline.alerts.texts import Place, anomaly_message, digest, failure_message, shown
from market_pipeline.core.daily_hours import parse_daily_hours
from market_pipeline.core.program import DEMO_VARIABLE
from market_pipeline.pipeline.conditions import Condition, Kind
from market_pipeline.pipeline.facts import DagsterFacts, DiskSpace, Failure, InstallationState, PriceFacts
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import (
    AlertMessage,
    QueuedMessage,
    newest_messages,
)
from market_pipeline_tests.alerts.alarms import alarm
from market_pipeline_tests.builders import check_sentences

FILE = Path(__file__).with_name("sentences.txt")
NOW = datetime(2026, 11, 23, 3, 10, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
PLACE = Place("market_pipeline on db1", "http://ui:3000")
BEGUN = NOW - 600 * MINUTE
NEWEST: dict[str, datetime | None] = {"BTC": NOW, "ETH": NOW}
STATE = InstallationState(
    PriceFacts(NOW, NOW, NEWEST, NEWEST, {}), DagsterFacts([], [], []), BEGUN, BEGUN,
    disks=[DiskSpace("the database", 50_000_000)],
)
FOUND = [
    Condition("scheduler-dead", "The scheduler is dead: its last heartbeat was 4 min ago.", "`run` starts it.",
              NOW - 4 * MINUTE, "SCHEDULER"),
    Condition("tick-failed", "The last tick failed 3 s ago.", "Run 0a1b2c3d shows why.", None, "tick", "OSError: no"),
    Condition("job-failed", "The last run of complete_days failed.", "See the run.", BEGUN, "complete_days"),
    Condition("quiet-market", "The newest price of BTC, ETH is 40 min old.", "", None, symbols=("BTC", "ETH")),
    Condition("disk-low", "0.05 GB are left.", "Free some space.", subject="the database"),
    Condition("check-error", "The check every_symbol_quoted fails: ADA.", subject="every_symbol_quoted"),
]


def told(database: Database) -> Iterator[AlertMessage]:
    opened = advance([], FOUND, STATE, [], PLACE)
    yield from opened.messages
    later = replace(STATE, prices=replace(STATE.prices, now=NOW + 31 * MINUTE))
    yield from advance(opened.saved, FOUND, later, [], PLACE).messages
    yield from advance(opened.saved, [], later, [], PLACE).messages
    one, other = Failure("tick", NOW - 9 * MINUTE, "run-1"), Failure("tick", NOW - MINUTE, "run-2", "No prices: why.")
    by_hand = Failure("__ASSET_JOB", NOW, "run-3", assets="raw_prices, 2026-11-22|BTC")
    for failures in ([one], [one, other], [by_hand], [Failure("tick_schedule", NOW)]):
        yield failure_message(failures, NOW, PLACE)
    yield anomaly_message(replace(alarm("critical", "a" * 32), members="BTC,ETH"), PLACE)
    record_stopped(database, "Dagster's daemon was killed by SIGKILL", NOW, PLACE)
    record_started(database, NOW + MINUTE, PLACE)
    yield from (message for _, message, _ in reversed(newest_messages(database, 2)))


def test_every_kind_of_message_has_its_words(sqlite_database: Database) -> None:
    messages = list(told(sqlite_database))
    texts = [shown(message, PLACE) for message in messages]
    waiting = [QueuedMessage(n, NOW, NOW, 0, message) for n, message in enumerate(messages)]
    texts.append(digest(waiting[:7], NOW + timedelta(days=1), PLACE)[1:])
    text = "".join(f"{title}\n" + "".join(f"    {line}\n" for line in body.splitlines()) for title, body in texts)
    check_sentences(FILE, text.splitlines())
    assert "OSError" not in text and max(len(body.splitlines()) for _, body in texts[:-1]) <= 6


def test_commands_in_a_message_of_the_demo_work_on_its_data(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DEMO_VARIABLE, "1")
    message = anomaly_message(alarm("critical", "a" * 32), PLACE)
    commands = [line for line in message.body.splitlines() if "market-pipeline " in line]
    assert len(commands) == 2 and all(line.endswith(" --demo") for line in commands)


def test_a_database_that_is_down_does_not_hide_how_the_pipeline_ended(caplog: pytest.LogCaptureFixture) -> None:
    record_stopped(Database(make_url("sqlite:////nowhere/prices.db")), "It ended", NOW, PLACE)
    assert "the folder /nowhere does not exist" in caplog.text


def test_every_condition_has_a_title_and_a_level() -> None:
    feed = {"stale-prices", "not-collected", "prices-refused", "quiet-market", "starting", "no-prices-yet"}
    assert {*get_args(Kind)} - feed == TITLES.keys() - {"no-fresh-prices"}
    for kind in get_args(Kind):
        assert level_of(Condition(kind, ""), STATE, timedelta()) in ("alert", "critical")
    assert title_of("no-fresh-prices", "", ["BTC"]) == "No fresh prices of BTC"


@pytest.mark.parametrize(("hours", "now", "end"), [
    ("22:00-07:00", "2026-11-23T21:59", None),
    ("22:00-07:00", "2026-11-23T22:00", "2026-11-24T07:00"),
    ("22:00-07:00", "2026-11-24T06:59", "2026-11-24T07:00"),
    ("22:00-07:00", "2026-11-24T07:00", None),
    ("01:00-02:00", "2026-11-24T01:30", "2026-11-24T02:00"),
    ("22:00-07:00 Europe/Berlin", "2026-07-01T20:30", "2026-07-02T05:00"),
    # The nights of the changes to summer time and back.
    ("22:00-07:00 Europe/Berlin", "2026-03-28T22:00", "2026-03-29T05:00"),
    ("22:00-07:00 Europe/Berlin", "2026-10-24T22:00", "2026-10-25T06:00"),
])
def test_quiet_hours_are_those_of_their_zone(hours: str, now: str, end: str | None) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=timezone.utc)
    expected = datetime.fromisoformat(end).replace(tzinfo=timezone.utc) if end else None
    assert parse_daily_hours(hours).end_after(moment) == expected


@pytest.mark.parametrize("text", ["22-7", "25:00-07:00", "22:00-22:00", "22:00-07:00 Nowhere/City", "22:00-07:00 ../a"])
def test_quiet_hours_that_cannot_be_used_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"22:00-07:00|time zone|same time"):
        parse_daily_hours(text)
