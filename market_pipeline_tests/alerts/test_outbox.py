"""The outbox on both databases: nothing twice, nothing lost, in order, per receiver."""

from datetime import timedelta
from threading import Thread

import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import alert_state
from market_pipeline.storage.queries.alert_outbox import (
    AlertMessage,
    Level,
    Transition,
    add_messages,
    delete_old_messages,
    highest_levels,
    newest_messages,
    pending_messages,
    postpone,
    queue_messages,
    receiver_states,
    record_answer,
    settle,
    unwanted_anomalies,
)
from market_pipeline.storage.queries.alert_state import OpenEpisode, Snooze
from market_pipeline.storage.schema.alert_tables import alert_messages
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies
from market_pipeline_tests.builders import anomaly_row, store

NOW = utc_now()
MINUTE = timedelta(minutes=1)


def message(episode: str, transition: Transition = "opened", level: Level = "alert") -> AlertMessage:
    return AlertMessage(episode, transition, "tick-failed", level, f"{episode} {transition}", "Why.", ("BTC", "ETH"))


def add(database: Database, *messages: AlertMessage) -> int:
    with database.writing(alert_messages) as connection:
        return add_messages(connection, messages, NOW)


def waiting(database: Database, receiver: str) -> list[str]:
    return [queued.message.title for queued in pending_messages(database, receiver, 10)]


def test_a_message_is_stored_once_and_each_receiver_gets_it_once(database: Database) -> None:
    queue_messages(database, ["json-1", "slack-1"], NOW)
    assert add(database, message("a"), message("a", "recovered"), message("a")) == 2
    assert add(database, message("a"), message("b")) == 1
    for _ in range(2):
        queue_messages(database, ["json-1", "slack-1"], NOW)
    everything = ["a opened", "a recovered", "b opened"]
    assert waiting(database, "json-1") == waiting(database, "slack-1") == everything
    first, *rest = pending_messages(database, "json-1", 10)
    assert first.message == message("a") and (first.created_at, first.due_at) == (NOW, NOW)
    settle(database, "json-1", [first.id], "sent", NOW)
    postpone(database, "json-1", [rest[0].id], NOW + MINUTE, "refused it", refused=True)
    queue_messages(database, ["json-1", "slack-1"], NOW)
    assert waiting(database, "json-1") == everything[1:] and waiting(database, "slack-1") == everything
    assert [(one.refusals, one.due_at) for one in pending_messages(database, "json-1", 1)] == [(1, NOW + MINUTE)]
    assert [state for _, _, state in newest_messages(database, 10)] == ["pending"] * 3
    record_answer(database, "slack-1", NOW, "no answer", NOW + MINUTE)
    states = receiver_states(database)
    assert [(one.receiver, one.failures, one.pending, one.oldest) for one in states] == [
        ("json-1", 0, 2, NOW), ("slack-1", 1, 3, NOW),
    ]
    assert states[1].last_error == "no answer" and states[1].retry_at == NOW + MINUTE


def test_a_new_receiver_gets_what_is_new_or_what_the_one_that_it_replaces_has_not_accepted(database: Database) -> None:
    queue_messages(database, ["json-1"], NOW)
    add(database, message("a"))
    queue_messages(database, ["json-1", "ntfy-1"], NOW)
    assert waiting(database, "ntfy-1") == []
    add(database, message("b"))
    queue_messages(database, ["json-2", "ntfy-1"], NOW)
    assert waiting(database, "json-2") == ["a opened", "b opened"] and waiting(database, "ntfy-1") == ["b opened"]
    assert [state.receiver for state in receiver_states(database)] == ["json-2", "ntfy-1"]


def test_old_messages_go_unless_somebody_waits_for_them(sqlite_database: Database) -> None:
    queue_messages(sqlite_database, ["json-1"], NOW)
    add(sqlite_database, message("a"), message("b", level="critical"))
    queue_messages(sqlite_database, ["json-1"], NOW)
    settle(sqlite_database, "json-1", [pending_messages(sqlite_database, "json-1", 2)[0].id], "sent", NOW)
    assert delete_old_messages(sqlite_database, NOW - MINUTE) == 0
    assert delete_old_messages(sqlite_database, NOW + MINUTE) == 1
    with sqlite_database.reading() as connection:
        assert highest_levels(connection, ["a", "b"]) == {"b": "critical"}


def test_a_message_after_quiet_months_reaches_the_receivers(sqlite_database: Database) -> None:
    queue_messages(sqlite_database, ["json-1"], NOW)
    add(sqlite_database, message("a"), message("b"))
    queue_messages(sqlite_database, ["json-1"], NOW)
    ids = [queued.id for queued in pending_messages(sqlite_database, "json-1", 10)]
    settle(sqlite_database, "json-1", ids, "sent", NOW)
    assert delete_old_messages(sqlite_database, NOW + MINUTE) == 1
    add(sqlite_database, message("c"))
    queue_messages(sqlite_database, ["json-1"], NOW)
    assert waiting(sqlite_database, "json-1") == ["c opened"]


def test_many_that_wait_do_not_hide_a_critical_message(database: Database) -> None:
    queue_messages(database, ["json-1"], NOW)
    add(database, message("a"), message("b"), message("c", level="critical"), message("d"))
    queue_messages(database, ["json-1"], NOW)
    found = [queued.message.episode for queued in pending_messages(database, "json-1", 2)]
    assert found == ["a", "c"]


def test_marked_and_vanished_anomalies_are_unwanted(sqlite_database: Database) -> None:
    alarm, member, marked = (anomaly_row(minutes=number) for number in range(3))
    store(sqlite_database, price_anomalies, alarm, {**member, "event_id": alarm["id"]}, marked)
    named = {name: marked[name] for name in ("coin_id", "symbol", "timestamp", "kind", "timestamp_before")}
    prices = {"price_before": 1.0, "price_after": 2.0, "note": None, "marked_at": NOW}
    store(sqlite_database, anomaly_marks, {**named, **prices, "anomaly_id": marked["id"], "mark": "noise"})
    ids = [alarm["id"], member["id"], marked["id"], "gone"]
    assert unwanted_anomalies(sqlite_database, ids) == {
        member["id"]: "no longer an alarm", "gone": "no longer an alarm", marked["id"]: "marked as noise",
    }


def test_one_process_holds_the_watch_until_it_stops_or_releases_it(database: Database) -> None:
    assert alert_state.read_watch(database) is None
    assert alert_state.take_watch(database, "a", NOW, MINUTE)
    assert not alert_state.take_watch(database, "b", NOW + MINUTE / 2, MINUTE)
    assert alert_state.take_watch(database, "a", NOW + MINUTE / 2, MINUTE)
    assert alert_state.take_watch(database, "b", NOW + 2 * MINUTE, MINUTE)
    alert_state.release_watch(database, "a", NOW)
    assert not alert_state.take_watch(database, "a", NOW + 2 * MINUTE, MINUTE)
    alert_state.release_watch(database, "b", NOW)
    assert alert_state.take_watch(database, "a", NOW, MINUTE)
    watch = alert_state.read_watch(database)
    assert watch and (watch.holder, watch.held_until) == ("a", NOW + MINUTE)
    ahead = NOW + 24 * 60 * MINUTE
    assert alert_state.take_watch(database, "a", ahead, MINUTE)
    assert alert_state.take_watch(database, "b", NOW, MINUTE), "the clock was ahead"


def test_messages_of_two_writers_are_queued_in_the_order_of_their_ids(postgres_database: Database) -> None:
    """A later id that is committed first would take the cursor past the earlier one."""
    queue_messages(postgres_database, ["json-1"], NOW)
    second = Thread(target=add, args=(postgres_database, message("b")))
    with postgres_database.writing(alert_messages) as connection:
        add_messages(connection, [message("a")], NOW)
        second.start()
        # It waits for this transaction; if it did not, it would be done by then.
        second.join(0.5)
        queue_messages(postgres_database, ["json-1"], NOW)
    second.join()
    queue_messages(postgres_database, ["json-1"], NOW)
    assert waiting(postgres_database, "json-1") == ["a opened", "b opened"]


def test_a_cursor_never_goes_back(database: Database) -> None:
    assert alert_state.cursor_position(database, "runs") is None
    for position, expected in [(5, 5), (3, 5), (7, 7)]:
        with database.writing() as connection:
            alert_state.move_cursor(connection, "runs", position, NOW)
        assert alert_state.cursor_position(database, "runs") == expected


def test_episodes_and_snoozes_are_kept(sqlite_database: Database) -> None:
    one = OpenEpisode("tick-failed:tick", "tick-failed", "", "alert", "Ticks fail", "tick-failed:tick@1", NOW, NOW)
    with sqlite_database.writing() as connection:
        alert_state.save_episodes(connection, [one], ["other"])
        alert_state.save_episodes(connection, [one], [])
        assert alert_state.open_episodes(connection) == [one]
        alert_state.save_episodes(connection, [], [one.key])
        assert alert_state.open_episodes(connection) == []
    for until in (NOW + MINUTE, NOW + 2 * MINUTE):
        alert_state.set_snooze(sqlite_database, Snooze("BTC", "jump", until), NOW)
    assert alert_state.snoozes(sqlite_database, NOW) == [Snooze("BTC", "jump", NOW + 2 * MINUTE)]
    assert alert_state.snoozes(sqlite_database, NOW + 2 * MINUTE) == []
    assert alert_state.end_snooze(sqlite_database, "BTC", "jump")
    assert not alert_state.end_snooze(sqlite_database, "BTC", "jump")


@pytest.mark.parametrize("name", ["json", "slack"])
def test_the_id_that_is_shown_is_that_of_episode_and_transition(name: str) -> None:
    assert message(name).shown_id == message(name, level="critical").shown_id != message(name, "raised").shown_id
