"""The watcher over a real database and receivers on loopback."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import replace
from datetime import datetime, timedelta, timezone

import pytest
from sqlalchemy import Connection, Table

from market_pipeline.alerts.anomalies import raise_anomalies
from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.stops import record_started, record_stopped
from market_pipeline.alerts.texts import Place
from market_pipeline.alerts.watcher import Failures, Watcher
from market_pipeline.core.daily_hours import parse_daily_hours
from market_pipeline.pipeline.facts import SCHEDULER, DagsterFacts, Failure, InstallationState, PriceFacts, judged
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import alert_state
from market_pipeline.storage.schema.tables import price_anomalies
from market_pipeline_tests.alerts.alarms import alarm
from market_pipeline_tests.alerts.receiving import PickyReceiver, serving
from market_pipeline_tests.builders import anomaly_row, store

START = datetime(2026, 11, 23, 12, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
PLACE = Place("market_pipeline on here", "http://ui")


class World:
    """An installation whose scheduler may die and whose database may fail, with watchers and two receivers."""

    def __init__(self, database: Database, servers: list[PickyReceiver]) -> None:
        self.database, self.servers = database, servers
        self.receivers = [Receiver(f"{server.url}{number}") for number, server in enumerate(servers)]
        self.now, self.dead, self.broken = START, False, False
        self.error: str | None = None
        self.failures: list[Failure] = []
        self.watcher = self.new_watcher()

    def new_watcher(self, quiet: str | None = None) -> Watcher:
        hours = parse_daily_hours(quiet) if quiet else None
        return Watcher(
            self.database, self.receivers, PLACE, self.state, self.failed, quiet=hours, clock=lambda: self.now
        )

    def state(self) -> InstallationState:
        if self.broken:
            raise DatabaseUnavailable("The database cannot be reached: connection refused.")
        newest: dict[str, datetime | None] = {"BTC": self.now - MINUTE}
        beats = judged({SCHEDULER: (self.now - (9 if self.dead else 1) * MINUTE, self.error)}, self.now)
        prices, begun = PriceFacts(self.now, self.now - 14 * MINUTE, newest, newest, {}), START - 60 * MINUTE
        return InstallationState(prices, DagsterFacts(beats, [], []), begun, begun)

    def failed(self, position: object) -> Failures:
        found, self.failures = self.failures, []
        return Failures(found, {"runs": 7})

    def round(self, minutes: float = 1.0, watcher: Watcher | None = None) -> list[list[str]]:
        """The titles that each receiver gets in a round so much later."""
        self.now += minutes * MINUTE
        before = [len(server.messages) for server in self.servers]
        (watcher or self.watcher).round()
        return [
            [str(message["title"]) for message in server.messages[count:]]
            for server, count in zip(self.servers, before, strict=True)
        ]


@pytest.fixture
def world(sqlite_database: Database) -> Iterator[World]:
    with ExitStack() as stack:
        world = World(sqlite_database, [stack.enter_context(serving()) for _ in range(2)])
        world.round(0)
        yield world


DEAD = "The scheduler is dead: no prices are collected"


def test_an_episode_is_one_message_to_each_and_one_at_its_end(world: World) -> None:
    world.dead = True
    assert world.round() == [[f"CRITICAL: {DEAD}"]] * 2
    assert world.round() == world.round() == [[], []]
    world.dead = False
    assert [*world.round(), *world.round()] == [[], [], [f"RECOVERED: {DEAD}"], [f"RECOVERED: {DEAD}"]]
    assert alert_state.cursor_position(world.database, "runs") == 7


def test_errors_of_daemons_are_reported_once_they_cannot_be_left_over(world: World) -> None:
    def titles(rounds: int) -> list[str]:
        return [title for _ in range(rounds) for title in world.round()[0]]

    world.error = "OSError: the storage is down"
    assert titles(7) == []
    world.now += 2 * MINUTE
    assert titles(8) == [], "nothing could be seen meanwhile: they begin anew"
    assert titles(1) == ["ALERT: Daemons of Dagster keep failing"]
    world.watcher.close()
    world.watcher = world.new_watcher()
    assert titles(4) == [], "a watcher that takes over goes on with what was reported"
    world.dead = True
    assert titles(4) == [f"CRITICAL: {DEAD}"], "what a dead daemon reported is neither new nor over"
    world.dead, world.error = False, None
    assert titles(4) == ["RECOVERED: Daemons of Dagster keep failing", f"RECOVERED: {DEAD}"]


def test_nothing_is_written_between_two_looks(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    started, written, writing = world.now, set[float](), Database.writing

    def record(database: Database, table: Table | None = None) -> AbstractContextManager[Connection]:
        written.add((world.now - started).total_seconds())
        return writing(database, table)

    monkeypatch.setattr(Database, "writing", record)
    for _ in range(6):
        world.round(5 / 60)
    assert written == {30}, "the lease and the look, twice a minute"


def test_a_clock_that_was_ahead_delays_nothing(world: World) -> None:
    """Times that it set lie hours ahead: of the lease, the look, the next attempt, the message and the episode."""
    world.now += 180 * MINUTE
    world.servers[0].status = 500
    world.dead = True
    assert world.round() == [[], [f"CRITICAL: {DEAD}"]]
    world.now -= 181 * MINUTE
    world.servers[0].status = 200
    assert world.round() == [[f"CRITICAL: {DEAD}"], []]
    world.dead = False
    world.round()
    assert world.round(2) == [[f"RECOVERED: {DEAD}"]] * 2
    assert "181 min" not in str(world.servers[0].messages[-1]["message"])


def test_an_episode_that_began_on_a_clock_ahead_is_over_when_it_is(world: World) -> None:
    world.now += 180 * MINUTE
    world.dead = True
    assert world.round() == [[f"CRITICAL: {DEAD}"]] * 2
    world.now -= 180 * MINUTE
    world.dead = False
    assert world.round() == [[f"RECOVERED: {DEAD}"]] * 2


def test_a_receiver_that_is_down_doubles_nothing_at_the_other(world: World) -> None:
    world.servers[1].status = 500
    world.dead = True
    assert world.round() == [[f"CRITICAL: {DEAD}"], []]
    for _ in range(3):
        assert world.round() == [[], []]
    world.dead, world.servers[1].status = False, 200
    world.round()
    restarted = world.new_watcher()
    assert world.round(10, restarted) == [
        [f"RECOVERED: {DEAD}"], [f"CRITICAL: {DEAD}", f"RECOVERED: {DEAD}"],
    ], "in its order, though another process delivers it"


def test_a_second_watcher_sends_nothing_until_the_first_is_gone(world: World) -> None:
    second = world.new_watcher()
    world.dead = True
    assert world.round(0, second) == [[], []]
    assert world.round() == [[f"CRITICAL: {DEAD}"]] * 2
    assert world.round(1, second) == [[], []]
    world.dead = False
    assert world.round(5, second) == [[f"RECOVERED: {DEAD}"]] * 2, "the first one holds its lease for 90 seconds"
    assert world.round(0) == [[], []]


def test_a_watcher_that_was_suspended_sends_nothing_once_another_one_watches(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    look = world.state

    def suspended() -> InstallationState:
        found = look()
        world.now += 5 * MINUTE
        assert alert_state.take_watch(world.database, "another", world.now, MINUTE)
        return found

    world.watcher.close()
    monkeypatch.setattr(world, "state", suspended)
    world.dead = True
    assert world.round(1, world.new_watcher()) == [[], []]


def test_a_process_that_died_between_sending_and_marking_sends_once_more_with_the_same_id(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(*_: object) -> None:
        raise DatabaseUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr("market_pipeline.alerts.delivery.settle", die)
        world.dead = True
        assert world.round() == [[f"CRITICAL: {DEAD}"]] * 2
    assert world.round() == [[f"CRITICAL: {DEAD}"]] * 2
    assert world.round() == [[], []]
    first, second = world.servers[0].messages
    assert str(first["message"]).splitlines()[-1] == str(second["message"]).splitlines()[-1]


def test_a_database_that_cannot_be_used_is_told_past_the_outbox(world: World) -> None:
    title = "The database cannot be used: nothing is stored, and alerts cannot be recorded"
    world.broken = True
    assert world.round(0.5) == [[], []], "it may restart"
    world.servers[1].status = 500
    assert world.round() == [[f"CRITICAL: {title}"], []]
    assert world.round(0.5) == [[], []]
    world.servers[1].status = 200
    assert world.round() == [[], [f"CRITICAL: {title}"]]
    assert "connection refused" in str(world.servers[0].messages[-1]["message"])
    world.broken = False
    assert world.round() == [[f"RECOVERED: {title}"]] * 2
    assert world.round() == [[], []]


def test_failures_between_two_looks_are_one_message_of_each_job(world: World) -> None:
    at = START + MINUTE / 2
    world.failures = [
        Failure("tick", at, "run-1"), Failure("tick", at, "run-2", "No prices: why."),
        Failure("__ASSET_JOB", at, "run-3"), Failure("tick_schedule", at),
    ]
    titles = [
        "ALERT: 2 runs of tick failed, but it has succeeded since", "ALERT: 1 run launched by hand failed",
        "ALERT: tick_schedule failed 1 time before it could start a run, but it has succeeded since",
    ]
    assert world.round() == [titles] * 2
    assert "No prices: why.\nhttp://ui/runs/run-2" in str(world.servers[0].messages[0]["message"])


def test_anomalies_are_told_once_from_the_chosen_severity_on_and_again_when_critical(world: World) -> None:
    def tell(*severities: str, name: str = "a") -> list[list[str]]:
        for severity in severities:
            raise_anomalies(world.database, [alarm(severity, name)], "alert", PLACE, world.now)
        return world.round()

    assert tell("watch") == [[], []]
    assert tell("watch", "alert", "alert") == [["ALERT: BTC rose 6.0% in 5 min."]] * 2
    assert tell("alert") == [[], []]
    assert tell("critical", "critical") == [["NOW CRITICAL: BTC rose 6.0% in 5 min."]] * 2
    assert tell("alert", "critical") == [[], []]
    assert tell("critical", name="b") == [["CRITICAL: BTC rose 6.0% in 5 min."]] * 2
    assert tell("critical", name="b") == [[], []]


def test_what_is_held_back_in_quiet_hours_comes_afterwards_and_what_is_critical_at_once(world: World) -> None:
    watcher = world.new_watcher("12:00-13:00")
    world.watcher.close()
    found = [alarm("alert", "a"), alarm("critical", "b"), alarm("alert", "c")]
    raise_anomalies(world.database, found, "alert", PLACE, world.now)
    # Without a row, as if its day had been scored again without it.
    store(world.database, price_anomalies, anomaly_row(id="a"))
    assert world.round(1, watcher) == [["CRITICAL: BTC rose 6.0% in 5 min."]] * 2
    assert world.round(30, watcher) == [[], []]
    assert world.round(30, watcher) == [["ALERT: BTC rose 6.0% in 5 min."]] * 2
    assert world.round(30, watcher) == [[], []]


def test_a_pipeline_that_ends_by_itself_says_so_and_that_it_runs_again(world: World) -> None:
    record_started(world.database, world.now, PLACE)
    assert world.round() == [[], []]
    world.servers[0].status = 500
    record_stopped(world.database, "The API ended", world.now, PLACE)
    world.round()
    world.servers[0].status = 200
    stopped = "market-pipeline run has ended by itself: no prices are collected"
    before = len(world.servers[0].messages)
    world.watcher.close()
    assert [one["title"] for one in world.servers[0].messages[before:]] == [f"CRITICAL: {stopped}"], "before it is due"
    for _ in range(2):
        record_started(world.database, world.now, PLACE)
    assert world.round(1, world.new_watcher()) == [[f"RECOVERED: {stopped}"]] * 2


def test_a_symbol_without_quotes_is_no_anomaly_beside_the_condition(world: World) -> None:
    silent = replace(alarm("alert", "s"), kind="stale_feed")
    raise_anomalies(world.database, [silent], "alert", PLACE, world.now)
    with world.database.writing() as connection:
        told = alert_state.OpenEpisode(
            "no-fresh-prices:BTC", "no-fresh-prices", "BTC", "alert", "T", "E", world.now, world.now
        )
        alert_state.save_episodes(connection, [told], [])
    assert world.round(0.1) == [[], []]

