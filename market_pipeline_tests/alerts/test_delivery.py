"""What a receiver gets, over real HTTP: quiet hours, snoozes, digests, and what happens while it is down."""

from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.alerts.delivery import Suppression, deliver, plan, retry_after
from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.texts import Place
from market_pipeline.core.daily_hours import parse_daily_hours
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import (
    AlertMessage,
    Level,
    QueuedMessage,
    add_messages,
    newest_messages,
    queue_messages,
    receiver_states,
)
from market_pipeline.storage.queries.alert_state import ANY, Snooze
from market_pipeline.storage.schema.alert_tables import alert_messages
from market_pipeline_tests.alerts.receiving import PickyReceiver, serving

NIGHT = datetime(2026, 11, 23, 3, 10, tzinfo=timezone.utc)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
QUIET = parse_daily_hours("22:00-07:00 Europe/Berlin")
PLACE = Place("market_pipeline on here", "http://ui")


def message(number: int = 1, level: Level = "alert", **changes: str) -> AlertMessage:
    fields = {"kind": "tick-failed", "title": f"Message {number}", "body": "Why.", **changes}
    return AlertMessage(f"episode {number}", "opened", level=level, **fields)  # type: ignore[arg-type]  # by name


def queued(number: int = 1, level: Level = "alert", age: timedelta = MINUTE, due: datetime = NIGHT,
           symbols: tuple[str, ...] = (), anomaly: str | None = None) -> QueuedMessage:
    it = AlertMessage(f"episode {number}", "opened", "jump", level, "Title", "Body.", symbols, anomaly)
    return QueuedMessage(number, NIGHT - age, due, 0, it)


def test_quiet_hours_hold_back_all_but_what_is_critical() -> None:
    decided = plan([queued(1), queued(2, "critical"), queued(3, due=NIGHT + MINUTE)], NIGHT, Suppression(QUIET))
    assert decided.held == {NIGHT.replace(hour=6, minute=0): [1]}
    assert [one.id for one in decided.sent] == [2] and decided.dropped == {}
    assert [one.id for one in plan([queued(1)], NIGHT + 3 * HOUR, Suppression(QUIET)).sent] == [1]


def test_snoozed_marked_and_vanished_messages_are_dropped() -> None:
    snoozes = [Snooze(*what, NIGHT + HOUR) for what in (("BTC", "jump"), ("ETH", ANY), (ANY, "other"))]
    waiting = [
        queued(1, symbols=("BTC",)), queued(2, symbols=("BTC", "ETH")), queued(3, symbols=("BTC", "SOL")),
        queued(4, anomaly="marked"), queued(5, anomaly="gone"), queued(6, age=HOUR, anomaly="gone"), queued(7),
    ]
    unwanted = {"marked": "marked as noise", "gone": "no longer an alarm"}
    decided = plan(waiting, NIGHT, Suppression(None, snoozes, unwanted))
    assert decided.dropped == {"snoozed": [1, 2], "marked as noise": [4], "no longer an alarm": [6]}
    assert [one.id for one in decided.sent] == [3, 5, 7], "the row of an anomaly may come after its message"


def test_the_waits_of_a_receiver_that_is_down_grow_up_to_ten_minutes() -> None:
    assert [retry_after(number).total_seconds() for number in (1, 2, 3, 6, 7, 900)] == [15, 30, 60, 480, 600, 600]


class Outbox:
    """A database with an outbox whose messages one receiver gets, at a time of its own."""

    def __init__(self, database: Database, receiver: Receiver, server: PickyReceiver) -> None:
        self.database, self.receiver, self.server, self.now = database, receiver, server, NIGHT
        self.deliver()

    def add(self, *messages: AlertMessage) -> None:
        with self.database.writing(alert_messages) as connection:
            add_messages(connection, messages, self.now)

    def deliver(self, wishes: Suppression | None = None) -> list[str]:
        """The titles that arrive now."""
        before = len(self.server.messages)
        queue_messages(self.database, [self.receiver.name], self.now)
        state = receiver_states(self.database)[0]
        deliver(self.database, self.receiver, state, wishes or Suppression(), PLACE, lambda: self.now, lambda: True)
        return [str(one["title"]) for one in self.server.messages[before:]]

    def states(self) -> list[str]:
        return [state for _, _, state in newest_messages(self.database, 100)]


@pytest.fixture
def outbox(sqlite_database: Database) -> Iterator[Outbox]:
    with serving() as server:
        yield Outbox(sqlite_database, Receiver(server.url), server)


def test_a_message_arrives_once_with_its_id(outbox: Outbox) -> None:
    outbox.add(message(), message(2, "critical"))
    assert outbox.deliver() == ["ALERT: Message 1", "CRITICAL: Message 2"]
    assert outbox.deliver() == [] and outbox.states() == ["sent", "sent"]
    first, second = outbox.server.messages
    assert first["message"] == f"Why.\nmarket_pipeline on here · id {message().shown_id}"
    assert (first["type"], second["type"]) == ("warning", "failure")


def test_a_receiver_that_was_down_gets_everything_in_order_and_once(outbox: Outbox) -> None:
    outbox.server.status = 503
    for number in range(1, 4):
        outbox.add(message(number))
        assert outbox.deliver() == []
    state = receiver_states(outbox.database)[0]
    assert (state.failures, state.pending, state.retry_at) == (1, 3, NIGHT + retry_after(1))
    assert state.last_error and "503" in state.last_error
    outbox.server.status = 200
    assert outbox.deliver() == [], "it is not tried before its time"
    outbox.now += HOUR
    assert outbox.deliver() == ["ALERT: Message 1", "ALERT: Message 2", "ALERT: Message 3"]
    assert outbox.deliver() == [] and outbox.states() == ["sent"] * 3


def test_many_messages_are_a_few_digests(outbox: Outbox) -> None:
    outbox.add(*(message(number, title="x" * 100 + f" {number}.") for number in range(1, 31)))
    outbox.now += 25 * HOUR
    titles = outbox.deliver()
    assert len(titles) == 3 and titles[0] == "10 messages, held back since 2026-11-23 03:10 UTC"
    text = "\n".join(str(one["message"]) for one in outbox.server.messages)
    assert [text.count(f" {number}. (id {message(number).shown_id})") for number in range(1, 31)] == [1] * 30
    assert max(len(str(one["message"])) for one in outbox.server.messages) < 2_000
    assert outbox.deliver() == [] and outbox.states() == ["sent"] * 30


def test_a_message_that_alone_is_refused_does_not_hold_up_the_others(outbox: Outbox) -> None:
    outbox.server.refused = "Message 1"
    outbox.add(message(1), message(2))
    assert outbox.deliver() == ["ALERT: Message 2"]
    for number in range(3, 8):
        outbox.now += HOUR
        outbox.add(message(number))
        assert outbox.deliver() == [f"ALERT: Message {number}"]
    assert outbox.states() == ["sent"] * 6 + ["refused"]


def test_a_process_without_the_lease_sends_nothing(outbox: Outbox) -> None:
    outbox.add(message())
    queue_messages(outbox.database, [outbox.receiver.name], NIGHT)
    state = receiver_states(outbox.database)[0]
    deliver(outbox.database, outbox.receiver, state, Suppression(), PLACE, lambda: NIGHT, lambda: False)
    assert outbox.server.messages == [] and outbox.states() == ["pending"]
