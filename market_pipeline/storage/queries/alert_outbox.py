"""The outbox of alerts: messages, their deliveries to each receiver, and the state of the receivers.

A message is stored once, in the transaction that records why it is sent; deliveries are queued from there. What is
delivered when is decided in `alerts`.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib import import_module
from typing import Any, Literal

from sqlalchemy import Connection, and_, case, delete, func, select, text, update

from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.alert_tables import alert_deliveries, alert_messages, alert_receivers
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies

Level = Literal["watch", "alert", "critical"]
Transition = Literal["opened", "raised", "recovered", "passed", "test"]
LEVELS: tuple[Level, ...] = ("watch", "alert", "critical")

_MESSAGES, _DELIVERIES, _RECEIVERS = alert_messages.c, alert_deliveries.c, alert_receivers.c
# Ids must become visible in their order, or a cursor would pass those that are committed late.
_IN_ORDER = text("SELECT pg_advisory_xact_lock(hashtextextended(current_schema() || :work, 0))")
_SHOWN_DIGITS = 8


@dataclass(frozen=True)
class AlertMessage:
    """A message about the `episode`; each episode has each transition once.

    `symbols` are those concerned, and `anomaly_id` the row that it is about, if it is about one.
    """

    episode: str
    transition: Transition
    kind: str
    level: Level
    title: str
    body: str
    symbols: tuple[str, ...] = ()
    anomaly_id: str | None = None

    @property
    def shown_id(self) -> str:
        """The id in the text of the message: the same whenever it is sent, so that a receiver can drop a repeat."""
        return sha256(f"{self.episode} {self.transition}".encode()).hexdigest()[:_SHOWN_DIGITS]


@dataclass(frozen=True)
class QueuedMessage:
    """A message that a receiver has not accepted yet, with its number in the outbox."""

    id: int
    created_at: datetime
    due_at: datetime
    refusals: int
    message: AlertMessage


@dataclass(frozen=True)
class ReceiverState:
    """A receiver: its failures since it last accepted a message, when it is tried again, and what waits for it."""

    receiver: str
    failures: int
    retry_at: datetime | None
    last_error: str | None
    accepted_at: datetime | None
    pending: int
    oldest: datetime | None


def add_messages(connection: Connection, messages: Sequence[AlertMessage], now: datetime) -> int:
    """Store the messages that the outbox does not hold yet; return how many."""
    if not messages:
        return 0
    dialect = connection.dialect.name
    if dialect == "postgresql":
        connection.execute(_IN_ORDER, {"work": "alerts"})
    insert: Any = import_module(f"sqlalchemy.dialects.{dialect}").insert
    rows = [{**_row(message), "created_at": now} for message in messages]
    added = connection.execute(insert(alert_messages).values(rows).on_conflict_do_nothing().returning(_MESSAGES.id))
    return len(added.all())


def highest_levels(connection: Connection, episodes: Collection[str]) -> dict[str, Level]:
    """Return the highest level of the messages of each of `episodes` that has one."""
    levels: dict[str, Level] = {}
    found = select(_MESSAGES.episode, _MESSAGES.level).where(_MESSAGES.episode.in_(episodes))
    for episode, level in connection.execute(found):
        levels[episode] = max(levels.get(episode, level), level, key=LEVELS.index)
    return levels


def queue_messages(database: Database, receivers: Iterable[str], now: datetime) -> None:
    """Queue for each of `receivers` the messages that are newer than those queued before.

    A new receiver starts with the next message, unless it replaces one of the same kind that is no longer configured,
    such as after a change of its password: then it gets what that one has not accepted.
    """
    wanted = list(dict.fromkeys(receivers))
    with database.reading() as connection:
        newest, queued = _queued(connection)
    # Mostly there is nothing to queue, and then nothing is written.
    if all(queued.get(receiver, -1) >= newest for receiver in wanted):
        return
    with database.writing(alert_deliveries) as connection:
        newest, queued = _queued(connection)
        for receiver in wanted:
            if receiver not in queued:
                queued[receiver] = _add_receiver(connection, receiver, wanted, queued, newest)
            if queued[receiver] < newest:
                _queue(connection, receiver, queued[receiver], newest, now)


def _queued(connection: Connection) -> tuple[int, dict[str, int]]:
    """Return the newest message, and up to which one each receiver has them queued."""
    newest = connection.execute(select(func.coalesce(func.max(_MESSAGES.id), 0))).scalar_one()
    known = connection.execute(select(_RECEIVERS.receiver, _RECEIVERS.queued_to))
    return newest, {row.receiver: row.queued_to for row in known}


def _add_receiver(
    connection: Connection, receiver: str, wanted: Sequence[str], queued: dict[str, int], newest: int
) -> int:
    kind = receiver.rpartition("-")[0]
    replaced = next((one for one in queued if one not in wanted and one.rpartition("-")[0] == kind), None)
    if replaced is None:
        connection.execute(alert_receivers.insert().values(receiver=receiver, queued_to=newest, failures=0))
        return newest
    fresh = {"receiver": receiver, "failures": 0, "retry_at": None, "last_error": None}
    connection.execute(update(alert_receivers).where(_RECEIVERS.receiver == replaced).values(**fresh))
    own = _DELIVERIES.receiver == replaced
    connection.execute(update(alert_deliveries).where(own).values(receiver=receiver))
    return queued.pop(replaced)


def _queue(connection: Connection, receiver: str, after: int, to: int, now: datetime) -> None:
    ids = connection.execute(
        select(_MESSAGES.id).where(_MESSAGES.id > after, _MESSAGES.id <= to).order_by(_MESSAGES.id)
    ).scalars()
    rows = [{"receiver": receiver, "message_id": id_, "state": "pending", "due_at": now} for id_ in ids]
    if rows:
        connection.execute(alert_deliveries.insert(), rows)
    moved = update(alert_receivers).where(_RECEIVERS.receiver == receiver, _RECEIVERS.queued_to < to)
    connection.execute(moved.values(queued_to=to))


def pending_messages(database: Database, receiver: str, limit: int) -> list[QueuedMessage]:
    """Return at most `limit` messages that `receiver` has not accepted yet, oldest first.

    Of more than these the critical ones are first: hundreds that wait for the end of quiet hours must not hide them.
    """
    found = (
        select(alert_messages, _DELIVERIES.due_at, _DELIVERIES.refusals)
        .join(alert_messages, _MESSAGES.id == _DELIVERIES.message_id)
        .where(_DELIVERIES.state == "pending", _DELIVERIES.receiver == receiver)
        .order_by(case({"critical": 0}, value=_MESSAGES.level, else_=1), _DELIVERIES.message_id)
        .limit(limit)
    )
    with database.reading() as connection:
        return [
            QueuedMessage(row.id, row.created_at, row.due_at, row.refusals, _message(row._mapping))
            for row in sorted(connection.execute(found), key=lambda row: row.id)
        ]


def settle(
    database: Database, receiver: str, ids: Collection[int], state: str, now: datetime, reason: str | None = None
) -> None:
    """Record that deliveries to `receiver` ended in `state`: sent, dropped or refused."""
    values: dict[str, Any] = {"state": state, "settled_at": now, "reason": reason}
    _change(database, receiver, ids, values)


def postpone(
    database: Database, receiver: str, ids: Collection[int], due_at: datetime, reason: str, *, refused: bool = False
) -> None:
    """Let deliveries wait until `due_at`; with `refused` count the attempt against the message."""
    values: dict[str, Any] = {"due_at": due_at, "reason": reason}
    if refused:
        values["refusals"] = _DELIVERIES.refusals + 1
    _change(database, receiver, ids, values)


def _change(database: Database, receiver: str, ids: Collection[int], values: Mapping[str, Any]) -> None:
    own = and_(_DELIVERIES.receiver == receiver, _DELIVERIES.message_id.in_(ids), _DELIVERIES.state == "pending")
    with database.writing(alert_deliveries) as connection:
        connection.execute(update(alert_deliveries).where(own).values(**values))


def record_answer(
    database: Database, receiver: str, now: datetime, error: str | None = None, retry_at: datetime | None = None
) -> None:
    """Record whether `receiver` accepted its last message: `error` is None, or why not, and when it is tried again."""
    values: dict[str, Any] = {"failures": 0, "retry_at": None, "last_error": None, "accepted_at": now}
    if error is not None:
        values = {"failures": _RECEIVERS.failures + 1, "retry_at": retry_at, "last_error": error}
    with database.writing(alert_receivers) as connection:
        connection.execute(update(alert_receivers).where(_RECEIVERS.receiver == receiver).values(**values))


def receiver_states(database: Database) -> list[ReceiverState]:
    """Return every receiver that messages were ever queued for, by name."""
    waiting = (
        select(_DELIVERIES.receiver, func.count().label("pending"), func.min(_MESSAGES.created_at).label("oldest"))
        .join(alert_messages, _MESSAGES.id == _DELIVERIES.message_id)
        .where(_DELIVERIES.state == "pending")
        .group_by(_DELIVERIES.receiver)
        .subquery()
    )
    names = ("receiver", "failures", "retry_at", "last_error", "accepted_at")
    found = (
        select(
            *(_RECEIVERS[name] for name in names), func.coalesce(waiting.c.pending, 0).label("pending"),
            waiting.c.oldest,
        )
        .outerjoin(waiting, waiting.c.receiver == _RECEIVERS.receiver)
        .order_by(_RECEIVERS.receiver)
    )
    with database.reading() as connection:
        return [ReceiverState(**row._mapping) for row in connection.execute(found)]


def newest_messages(database: Database, limit: int) -> list[tuple[datetime, AlertMessage, str]]:
    """Return the newest messages with when they were raised and what became of them, e.g. `sent`, newest first."""
    # In this order: a message that one receiver waits for counts as pending, and one that all got as sent.
    order = {"pending": 0, "refused": 1, "dropped": 2, "sent": 3}
    worst = func.min(case(order, value=_DELIVERIES.state))
    found = (
        select(alert_messages, worst.label("worst"))
        .outerjoin(alert_deliveries, _DELIVERIES.message_id == _MESSAGES.id)
        .group_by(*alert_messages.c)
        .order_by(_MESSAGES.id.desc())
        .limit(limit)
    )
    with database.reading() as connection:
        return [
            (row.created_at, _message(row._mapping), "not queued" if row.worst is None else [*order][row.worst])
            for row in connection.execute(found)
        ]


def unwanted_anomalies(database: Database, ids: Collection[str]) -> dict[str, str]:
    """Return those of the anomalies `ids` that need no message any more, each with the reason.

    They are marked as noise or expected, or are no longer an alarm of their own.
    """
    wanted = [id_ for id_ in ids if id_]
    if not wanted:
        return {}
    rows, marks = price_anomalies.c, anomaly_marks.c
    alarm = select(rows.id).where(rows.id.in_(wanted), (rows.event_id.is_(None)) | (rows.event_id == rows.id))
    marked = select(marks.anomaly_id, marks.mark).where(
        marks.anomaly_id.in_(wanted), marks.mark.in_(["noise", "expected"])
    )
    with database.reading() as connection:
        alarms = set(connection.execute(alarm).scalars())
        unwanted = {id_: "no longer an alarm" for id_ in wanted if id_ not in alarms}
        return unwanted | {id_: f"marked as {mark}" for id_, mark in connection.execute(marked)}


def delete_old_messages(database: Database, before: datetime, limit: int = 10_000) -> int:
    """Delete at most `limit` messages raised before this time that no receiver waits for; return how many.

    The newest message stays: without it SQLite would number the next ones from 1 again, below what receivers have.
    """
    waiting = select(_DELIVERIES.message_id).where(_DELIVERIES.state == "pending")
    newest = select(func.max(_MESSAGES.id)).scalar_subquery()
    is_old = and_(_MESSAGES.created_at < before, _MESSAGES.id < newest, _MESSAGES.id.not_in(waiting))
    old = select(_MESSAGES.id).where(is_old).limit(limit)
    with database.writing(alert_messages) as connection:
        ids = list(connection.execute(old).scalars())
        if ids:
            connection.execute(delete(alert_deliveries).where(_DELIVERIES.message_id.in_(ids)))
            connection.execute(delete(alert_messages).where(_MESSAGES.id.in_(ids)))
    return len(ids)


def _row(message: AlertMessage) -> dict[str, Any]:
    names = ("episode", "transition", "kind", "level", "title", "body", "anomaly_id")
    return {"symbols": ",".join(message.symbols), **{name: getattr(message, name) for name in names}}


def _message(row: Mapping[Any, Any]) -> AlertMessage:
    names = ("episode", "transition", "kind", "level", "title", "body", "anomaly_id")
    symbols = tuple(row["symbols"].split(",")) if row["symbols"] else ()
    return AlertMessage(symbols=symbols, **{name: row[name] for name in names})
