"""Deliver the outbox to a receiver, as single messages or as a digest; hold back or drop the rest."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from market_pipeline.alerts.episodes import is_snoozed
from market_pipeline.alerts.receivers import Receiver
from market_pipeline.alerts.texts import Place, clock_time, digest, shown
from market_pipeline.core.clock import Clock, is_due
from market_pipeline.core.daily_hours import DailyHours
from market_pipeline.logs import get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.alert_outbox import (
    QueuedMessage,
    ReceiverState,
    pending_messages,
    postpone,
    record_answer,
    settle,
    unwanted_anomalies,
)
from market_pipeline.storage.queries.alert_state import Snooze

logger = get_logger(__name__)

# More messages than these become digests.
_SINGLE = 5
_READ_AT_ONCE = 200
# A receiver that fails twice in a row counts as down.
_DOWN_AFTER = 2
_FIRST_RETRY, _LAST_RETRY = timedelta(seconds=15), timedelta(minutes=10)
# A message that fails this often while others are accepted is refused because of its content.
_MOST_REFUSALS = 5
# The row of an anomaly is stored shortly after its message, and may be absent for a moment.
_SETTLED = timedelta(minutes=10)


@dataclass(frozen=True)
class Suppression:
    """What suppresses messages: quiet hours, snoozes, and unwanted anomalies by id with the reason."""

    quiet: DailyHours | None = None
    snoozes: Sequence[Snooze] = ()
    unwanted: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Plan:
    """What happens to pending messages: ids to drop by reason, ids to hold back by time, and messages to send."""

    dropped: dict[str, list[int]] = field(default_factory=dict)
    held: dict[datetime, list[int]] = field(default_factory=dict)
    sent: list[QueuedMessage] = field(default_factory=list)


def plan(waiting: Sequence[QueuedMessage], now: datetime, suppression: Suppression) -> Plan:
    """Decide what happens now to the pending messages of a receiver, oldest first."""
    result = Plan()
    quiet_until = suppression.quiet.end_after(now) if suppression.quiet else None
    for queued in waiting:
        message = queued.message
        reason = _why_dropped(queued, now, suppression)
        if reason:
            result.dropped.setdefault(reason, []).append(queued.id)
        elif not is_due(queued.due_at, now, max(_LAST_RETRY, quiet_until - now if quiet_until else _LAST_RETRY)):
            continue
        elif quiet_until and message.level != "critical":
            result.held.setdefault(quiet_until, []).append(queued.id)
        else:
            result.sent.append(queued)
    return result


def _why_dropped(queued: QueuedMessage, now: datetime, suppression: Suppression) -> str:
    message = queued.message
    if is_snoozed(message.symbols, message.kind, suppression.snoozes, now):
        return "snoozed"
    reason = suppression.unwanted.get(message.anomaly_id or "", "")
    settled = now - queued.created_at > _SETTLED
    return reason if settled or reason.startswith("marked") else ""


def retry_after(failures: int) -> timedelta:
    """Return how long to wait after so many failures in a row: from 15 seconds to 10 minutes."""
    doubled: timedelta = _FIRST_RETRY * 2 ** min(failures - 1, 10)
    return min(_LAST_RETRY, doubled)


def deliver(
    database: Database, receiver: Receiver, state: ReceiverState, suppression: Suppression, place: Place, clock: Clock,
    may_send: Callable[[], bool],
) -> None:
    """Send the pending messages of `receiver`, the oldest first.

    A message is marked as sent after the receiver has accepted it: if this process dies in between, the receiver gets
    it again, with the same id. Raises a StorageError if the database cannot be used.
    """
    now = clock()
    if state.retry_at and not is_due(state.retry_at, now, _LAST_RETRY):
        return
    waiting = pending_messages(database, receiver.name, _READ_AT_ONCE)
    if not waiting:
        return
    ids = [queued.message.anomaly_id for queued in waiting if queued.message.anomaly_id]
    decided = plan(waiting, now, Suppression(suppression.quiet, suppression.snoozes, unwanted_anomalies(database, ids)))
    for reason, dropped in decided.dropped.items():
        settle(database, receiver.name, dropped, "dropped", now, reason)
    for until, held in decided.held.items():
        postpone(database, receiver.name, held, until, f"quiet hours until {clock_time(until, now)}")
    if decided.sent:
        _send_all(database, receiver, state, decided.sent, place, clock, may_send)


def _send_all(
    database: Database, receiver: Receiver, state: ReceiverState, messages: Sequence[QueuedMessage], place: Place,
    clock: Clock, may_send: Callable[[], bool],
) -> None:
    left, failed, accepted, error = list(messages), list[list[QueuedMessage]](), False, ""
    as_digest = len(left) > _SINGLE
    while left and may_send():
        now = clock()
        if as_digest:
            part, title, body = digest(left, now, place)
            worst = max((queued.message for queued in part), key=lambda one: one.level == "critical")
        else:
            part, worst = left[:1], left[0].message
            title, body = shown(worst, place)
        left = left[len(part):]
        why = receiver.send(title, body, worst)
        if why is None:
            settle(database, receiver.name, [queued.id for queued in part], "sent", clock())
            record_answer(database, receiver.name, clock())
            accepted = True
            logger.info("%s accepted: %s", receiver.name, title)
            continue
        failed.append(part)
        error = why
        if not accepted and len(failed) >= _DOWN_AFTER:
            break
    if failed and accepted:
        for part in failed:
            _refused(database, receiver.name, part, error, clock())
    elif failed:
        wait = retry_after(state.failures + 1)
        record_answer(database, receiver.name, clock(), error, clock() + wait)
        log = logger.warning if state.failures == 0 else logger.debug
        log("%s did not accept a message (%s); it is tried again in %d s", receiver.name, error, wait.total_seconds())


def _refused(database: Database, receiver: str, part: Sequence[QueuedMessage], error: str, now: datetime) -> None:
    """Count a failure against the messages themselves: the receiver has accepted others."""
    for queued in part:
        if queued.refusals + 1 >= _MOST_REFUSALS:
            settle(database, receiver, [queued.id], "refused", now, error)
            logger.error("%s refuses the message %s: %s", receiver, queued.message.title, error)
        else:
            due = now + retry_after(queued.refusals + 1)
            postpone(database, receiver, [queued.id], due, error, refused=True)
