"""One message when a condition begins, one when it becomes critical, one when it is over."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone

import pytest

from market_pipeline.alerts.episodes import Changes, advance
from market_pipeline.alerts.signals import CRITICAL_AFTER
from market_pipeline.alerts.texts import Place
from market_pipeline.pipeline.conditions import Condition, conditions
from market_pipeline.pipeline.facts import (
    SCHEDULER,
    DagsterFacts,
    DiskSpace,
    FailedRun,
    InstallationState,
    JobState,
    PriceFacts,
    judged,
)
from market_pipeline.storage.queries.alert_state import ANY, OpenEpisode, Snooze

NOW = datetime(2026, 11, 23, 3, 10, tzinfo=timezone.utc)
MINUTE = timedelta(minutes=1)
PLACE = Place("here", "http://ui")


def at(minutes: float, *stale: str, tick_failed: bool = False, dead: bool = False, started: float = -600,
       disk: int | None = None, job: str = "tick", readable: bool = True) -> InstallationState:
    """An installation of BTC and ETH so many minutes after NOW, in which these symbols have no fresh price."""
    now = NOW + minutes * MINUTE
    newest: dict[str, datetime | None] = {name: now - (40 if name in stale else 1) * MINUTE for name in ("BTC", "ETH")}
    facts = PriceFacts(now, now - 14 * MINUTE, newest, newest, {})
    failed = FailedRun(now - MINUTE, "0a1b2c3d-run", (), "OSError: disk", False) if tick_failed else None
    beats = judged({SCHEDULER: (now - (9 if dead else 1) * MINUTE, None)}, now)
    begun = NOW + started * MINUTE
    return InstallationState(
        facts, DagsterFacts(beats, [], [JobState(job, now - 60 * MINUTE, failed)]) if readable else None, begun,
        begun + 5 * MINUTE, collected_at=now, disks=[DiskSpace("the database", disk)] if disk else [],
    )


class Book:
    """What a watcher remembers between looks, and the messages so far."""

    def __init__(self) -> None:
        self.episodes: dict[str, OpenEpisode] = {}
        self.told: list[tuple[str, str, str]] = []
        self.snoozes: list[Snooze] = []
        self.last = Changes()

    def look(self, state: InstallationState, found: Sequence[Condition] | None = None) -> list[tuple[str, str, str]]:
        """The messages of one look as (transition, level, title)."""
        found = conditions(state) if found is None else found
        self.last = advance(sorted(self.episodes.values(), key=lambda one: one.key), found, state, self.snoozes, PLACE)
        self.episodes = {key: one for key, one in self.episodes.items() if key not in self.last.closed}
        self.episodes |= {one.key: one for one in self.last.saved}
        return [(one.transition, one.level, one.title) for one in self.last.messages]


@pytest.fixture
def book() -> Book:
    return Book()


TICKS_FAIL = "Ticks fail: new prices are not collected, or not scored"


def test_failing_ticks_are_one_message_one_more_when_they_last_and_one_when_they_succeed(book: Book) -> None:
    assert book.look(at(0)) == []
    assert book.look(at(1, tick_failed=True)) == [("opened", "alert", TICKS_FAIL)]
    body = book.last.messages[0].body
    assert "none has succeeded since 02:11 UTC" in body and "http://ui" in body and "OSError" not in body
    for minute in range(2, 31):
        assert book.look(at(minute, tick_failed=True)) == []
    assert book.look(at(31, tick_failed=True)) == [("raised", "critical", TICKS_FAIL)]
    assert book.look(at(60, tick_failed=True)) == []
    assert book.look(at(61)) == [] and book.look(at(61.5, tick_failed=True)) == [], "it has not been gone"
    assert book.look(at(63.6)) == [("recovered", "critical", TICKS_FAIL)]
    assert "Over at 04:13 UTC, after 63 min." in book.last.messages[0].body
    assert book.look(at(64)) == [] and book.episodes == {}


def test_a_cause_does_not_let_its_consequence_recover(book: Book) -> None:
    feed = "No fresh prices of BTC, ETH"
    assert book.look(at(0, "BTC", "ETH")) == [("opened", "alert", feed)]
    dead = "The scheduler is dead: no prices are collected"
    assert book.look(at(3, "BTC", "ETH", dead=True)) == [("opened", "critical", dead)]
    assert book.look(at(9, "BTC", "ETH", dead=True)) == []
    assert book.look(at(10, "BTC", "ETH")) == []
    assert book.look(at(12, "BTC", "ETH")) == [("recovered", "critical", dead)]
    assert book.look(at(13)) == [] and book.look(at(15)) == [("recovered", "alert", feed)]


def test_the_first_tick_after_a_stop_has_time_to_bring_prices(book: Book) -> None:
    book.look(at(0, "BTC", "ETH", dead=True))
    assert book.look(at(1, "BTC", "ETH")) == []
    assert [one[0] for one in book.look(at(2, "BTC"))] == ["recovered"]
    assert book.look(at(3, "BTC")) == [("opened", "alert", "No fresh prices of BTC")]


def test_coins_join_and_leave_the_episode_of_a_silent_feed(book: Book) -> None:
    assert book.look(at(0, "BTC")) == [("opened", "alert", "No fresh prices of BTC")]
    assert book.look(at(5, "BTC", "ETH")) == [("opened", "alert", "No fresh prices of ETH")]
    assert book.look(at(8, "ETH")) == [("recovered", "alert", "No fresh prices of BTC")]
    assert book.look(at(9 + CRITICAL_AFTER / MINUTE, "ETH")) == [], "one coin of two wakes nobody"
    book = Book()
    assert book.look(at(0, "BTC", "ETH")) == [("opened", "alert", "No fresh prices of BTC, ETH")]
    assert book.look(at(CRITICAL_AFTER / MINUTE, "BTC", "ETH")) == [
        ("raised", "critical", "No fresh prices of BTC, ETH"),
    ]
    first = book.look(at(34, "ETH"))
    assert first == [("recovered", "critical", "No fresh prices of BTC")]
    part = book.last.messages[0].episode
    assert book.look(at(37)) == [("recovered", "critical", "No fresh prices of ETH")]
    assert part != book.last.messages[0].episode, "else the second message would count as a repeat of the first"


def test_a_start_raises_and_ends_nothing_of_dagsters(book: Book) -> None:
    book.look(at(0, tick_failed=True))
    assert book.look(at(5, dead=True, started=4)) == [], "it may be starting, too"
    assert book.look(at(6, started=4)) == [] and "tick-failed:tick" in book.episodes
    assert book.look(at(8, dead=True, started=4)) == [
        ("opened", "critical", "The scheduler is dead: no prices are collected"),
    ]
    unreadable = at(30, started=4, readable=False)
    assert book.look(unreadable) == [("opened", "alert", "Dagster's storage cannot be read")]
    assert len(book.episodes) == 3, "nothing is known of the others"


def test_an_old_failed_run_does_not_recover(book: Book) -> None:
    failing = at(0, tick_failed=True, job="complete_days")
    assert [level for _, level, _ in book.look(failing)] == ["alert"]
    assert book.look(failing, []) == [] and book.look(at(5, tick_failed=True, job="complete_days"), []) == []
    assert book.episodes == {}


def test_a_full_disk_wakes_somebody_and_a_nearly_full_one_does_not(book: Book) -> None:
    title = "The disk of the database is nearly full"
    assert book.look(at(0, disk=900_000_000)) == [("opened", "alert", title)]
    assert book.look(at(1, disk=50_000_000)) == [("raised", "critical", title)]


@pytest.mark.parametrize("snooze", [("BTC", "no-fresh-prices"), ("BTC", ANY), (ANY, "no-fresh-prices")])
def test_what_is_snoozed_is_told_later_if_it_lasts(snooze: tuple[str, str], book: Book) -> None:
    book.snoozes = [Snooze(*snooze, NOW + 10 * MINUTE)]
    assert book.look(at(0, "BTC")) == []
    assert book.look(at(10, "BTC")) == [("opened", "alert", "No fresh prices of BTC")]
    book.snoozes = [Snooze(*snooze, NOW + 30 * MINUTE)]
    assert book.look(at(20)) == [] and book.episodes == {}
