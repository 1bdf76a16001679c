"""The watcher: reads the state of the installation, writes messages to the outbox, and delivers them.

It runs in a process of its own, outside of Dagster: a sensor cannot report a dead daemon. Several may run; the one that
holds the lease works, the others wait to take over.
"""

import os
import socket
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy.exc import SQLAlchemyError

from market_pipeline.alerts.delivery import Suppression, deliver
from market_pipeline.alerts.direct import DirectAlarm
from market_pipeline.alerts.episodes import advance
from market_pipeline.alerts.leftovers import DaemonErrors
from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.signals import NO_FRESH_PRICES
from market_pipeline.alerts.texts import Place, failure_message
from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import Clock, is_due, utc_now
from market_pipeline.core.daily_hours import DailyHours
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.conditions import conditions
from market_pipeline.pipeline.facts import Failure, InstallationState
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import alert_state
from market_pipeline.storage.queries.alert_outbox import (
    AlertMessage,
    add_messages,
    queue_messages,
    receiver_states,
)
from market_pipeline.storage.schema.alert_tables import alert_episodes
from market_pipeline.storage.schema.migrate import check_schema

logger = get_logger(__name__)

LOOK_EVERY = timedelta(seconds=30)
# Longer than the longest round: each receiver has its own thread, and one message may take half a minute.
_LEASE = timedelta(seconds=90)


@dataclass(frozen=True)
class Failures:
    """Failures since the cursors, and the new positions of the cursors by name."""

    found: Sequence[Failure]
    cursors: dict[str, int]


class Watcher:
    """Watches one installation; `look` reads its state, and `failures` the failures since the cursor of each name.

    `failures` gets a function that returns the position of a cursor, None if it has none yet.
    """

    def __init__(
        self, database: Database, receivers: Sequence[Receiver], place: Place, look: Callable[[], InstallationState],
        failures: Callable[[Callable[[str], int | None]], Failures], *, quiet: DailyHours | None = None,
        clock: Clock = utc_now,
    ) -> None:
        self._database = database
        self._receivers = receivers
        self._place = place
        self._read_state = look
        self._read_failures = failures
        self._quiet = quiet
        self._clock = clock
        self._holder = f"{socket.gethostname()}:{os.getpid()}:{time.time_ns() % 1_000_000}"
        self._looked_at: datetime | None = None
        self._active: bool | None = None
        self._held_until: datetime | None = None
        self._trouble = ""
        self._direct = DirectAlarm(receivers, place)
        self._daemon_errors = DaemonErrors()

    def round(self) -> bool:
        """Read the state if it is due, and deliver pending messages; return whether both succeeded."""
        now = self._clock()
        try:
            if not self._take_lease(now):
                return True
            if self._looked_at is None or is_due(self._looked_at + LOOK_EVERY, now, LOOK_EVERY):
                self._looked_at = now
                # Before the messages are raised: a new receiver gets those raised after it was added.
                self._queue(now)
                self._look()
            self._deliver()
        except (StorageError, SQLAlchemyError) as error:
            log = logger.debug if str(error) == self._trouble else logger.warning
            log("Alerts cannot be recorded: %s", error)
            self._trouble = str(error)
            self._direct.trouble(str(error), self._clock())
            return False
        self._trouble = ""
        self._direct.over(self._clock())
        return True

    def close(self) -> None:
        """Deliver what can be delivered at once, and release the lease."""
        try:
            if self._active:
                # Past the retry times: the message about the end of the pipeline may have just been raised.
                self._deliver(at_once=True)
                alert_state.release_watch(self._database, self._holder, self._clock())
        except (StorageError, SQLAlchemyError) as error:
            logger.warning("The lease of the watch cannot be released: %s", error)

    def _take_lease(self, now: datetime) -> bool:
        taken = self._holds_lease(now)
        if taken != self._active:
            other = alert_state.read_watch(self._database)
            what = "This process watches and sends alerts." if taken else (
                f"{other.holder if other else 'Another process'} watches; this one takes over when it stops."
            )
            logger.info("%s", what)
        self._active = taken
        return taken

    def _look(self) -> None:
        check_schema(self._database)
        state = self._read_state()
        failures = self._read_failures(lambda name: alert_state.cursor_position(self._database, name))
        found, now = conditions(state), state.now
        snoozed = alert_state.snoozes(self._database, now)
        with self._database.writing(alert_episodes) as connection:
            before = alert_state.open_episodes(connection)
            lasting = self._daemon_errors.repeated(found, before, now)
            changes = advance(before, lasting, state, snoozed, self._place)
            messages = [*passed(failures.found, state, self._place), *changes.messages]
            alert_state.save_episodes(connection, changes.saved, changes.closed)
            add_messages(connection, messages, now)
            for name, position in failures.cursors.items():
                alert_state.move_cursor(connection, name, position, now)
            alert_state.record_look(connection, now)
        for message in messages:
            fields = {
                "kind": message.kind, "severity": message.level, "transition": message.transition,
                "body": message.body,
            }
            logger.info("%s (%s)", message.title, message.transition, extra=fields)

    def _queue(self, now: datetime) -> None:
        queue_messages(self._database, [receiver.name for receiver in self._receivers], now)

    def _deliver(self, *, at_once: bool = False) -> None:
        now = self._clock()
        self._queue(now)
        states = receiver_states(self._database)
        of_receiver = {state.receiver: replace(state, retry_at=None) if at_once else state for state in states}
        waiting = [receiver for receiver in self._receivers if of_receiver[receiver.name].pending]
        if not waiting:
            return
        snoozes = [*alert_state.snoozes(self._database, now), *self._reported_as_conditions(now)]
        suppressed = Suppression(self._quiet, snoozes)

        def to(receiver: Receiver) -> None:
            deliver(
                self._database, receiver, of_receiver[receiver.name], suppressed, self._place, self._clock,
                self._may_send,
            )

        # A receiver that does not answer must not delay the others.
        with ThreadPoolExecutor(len(waiting), "receiver") as threads:
            for done in [threads.submit(to, receiver) for receiver in waiting]:
                done.result()

    def _reported_as_conditions(self, now: datetime) -> list[alert_state.Snooze]:
        """Return snoozes of stale-feed alarms for symbols whose condition was reported: both are the same event."""
        with self._database.reading() as connection:
            episodes = alert_state.open_episodes(connection)
        stale = [episode.symbol for episode in episodes if episode.kind == NO_FRESH_PRICES]
        return [alert_state.Snooze(symbol, Kind.STALE_FEED.value, now + LOOK_EVERY) for symbol in stale]

    def _may_send(self) -> bool:
        """Renew the lease: a process that was suspended must not send again what another has sent meanwhile."""
        return self._holds_lease(self._clock())

    def _holds_lease(self, now: datetime) -> bool:
        """Return whether this process holds the lease for a minute; renew it once a third has passed."""
        if self._held_until and _LEASE * 2 / 3 <= self._held_until - now <= _LEASE:
            return True
        taken = alert_state.take_watch(self._database, self._holder, now, _LEASE)
        self._held_until = now + _LEASE if taken else None
        return taken


def passed(failures: Sequence[Failure], state: InstallationState, place: Place) -> list[AlertMessage]:
    """Return the messages about failures that no condition reports: passed ones, and runs launched by hand."""
    dagster = state.dagster
    lasting = set() if dagster is None else {
        *(job.job for job in dagster.jobs if job.failed),
        *(one.automation.name for one in dagster.automations if one.outcome == "failure"),
    }
    by_name: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.name not in lasting:
            by_name.setdefault(failure.name, []).append(failure)
    return [failure_message(several, state.now, place) for several in by_name.values()]
