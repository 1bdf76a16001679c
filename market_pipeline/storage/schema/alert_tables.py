"""The tables of alerts: the outbox, the progress of each receiver, open episodes, snoozes, and the watcher's lease.

As in `tables`, a column's comment is its one description.
"""

from sqlalchemy import BigInteger, CheckConstraint, Column, Index, Integer, Table, Text, UniqueConstraint, text

from market_pipeline.storage.schema.operations_tables import NUMBER
from market_pipeline.storage.schema.tables import metadata
from market_pipeline.storage.schema.types import Name, UtcTimestamp

alert_messages = Table(
    "alert_messages",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True, comment="In the order in which they were raised."),
    Column("episode", Name(200), nullable=False, comment="What it is about, with the time at which that began."),
    Column(
        "transition", Name(20), nullable=False,
        comment="opened, raised (to a higher level), recovered, passed (begun and over) or test.",
    ),
    Column("kind", Name(30), nullable=False, comment="Kind of the condition or anomaly."),
    Column("symbols", Text, nullable=False, comment="Symbols concerned, comma separated; empty if none."),
    Column("level", Name(10), nullable=False, comment="watch, alert or critical."),
    Column("title", Text, nullable=False, comment="First line of the message."),
    Column("body", Text, nullable=False, comment="The rest of the message."),
    Column("anomaly_id", Name(32), comment="Id of the anomaly; empty for conditions."),
    Column("created_at", UtcTimestamp, nullable=False, comment="When it was raised, UTC."),
    UniqueConstraint("episode", "transition", name="alert_messages_episode_transition"),
    Index("alert_messages_created_at", "created_at"),
    CheckConstraint("level IN ('watch', 'alert', 'critical')", name="level_is_known"),
    comment="Outbox of alerts: one row per message.",
)

alert_receivers = Table(
    "alert_receivers",
    metadata,
    Column(
        "receiver", Name(60), primary_key=True,
        comment="Scheme and digest of the receiver's URL, e.g. slack-1a2b3c4d.",
    ),
    Column("queued_to", BigInteger, nullable=False, comment="Newest message queued for it; only ever increases."),
    Column(
        "failures", Integer, nullable=False, server_default=text("0"),
        comment="Attempts that failed since it last accepted a message.",
    ),
    Column("retry_at", UtcTimestamp, comment="No attempt before this time, UTC."),
    Column("last_error", Text, comment="Why the last attempt failed; empty after a success."),
    Column("accepted_at", UtcTimestamp, comment="When it last accepted a message, UTC."),
    comment="Receivers of alerts and the state of their delivery.",
)

alert_deliveries = Table(
    "alert_deliveries",
    metadata,
    Column("receiver", Name(60), primary_key=True, comment="As in alert_receivers."),
    Column("message_id", BigInteger, primary_key=True, comment="Id in alert_messages."),
    Column("state", Name(10), nullable=False, comment="pending, sent, dropped (no longer wanted) or refused."),
    Column("due_at", UtcTimestamp, nullable=False, comment="Not sent before this time, UTC."),
    Column(
        "refusals", Integer, nullable=False, server_default=text("0"),
        comment="Attempts that failed while the receiver accepted others.",
    ),
    Column("reason", Text, comment="Why it waits, was dropped or refused; empty otherwise."),
    Column("settled_at", UtcTimestamp, comment="When it was sent, dropped or refused, UTC."),
    CheckConstraint("state IN ('pending', 'sent', 'dropped', 'refused')", name="state_is_known"),
    Index("alert_deliveries_state", "state", "receiver", "message_id"),
    sqlite_with_rowid=False,
    comment="One row per message and receiver.",
)

alert_episodes = Table(
    "alert_episodes",
    metadata,
    Column("key", Name(200), primary_key=True, comment="Kind and subject of the condition, with the symbol if any."),
    Column("kind", Name(30), nullable=False, comment="Kind of the condition."),
    Column("symbol", Name(20), nullable=False, comment="Symbol concerned; empty if it is not about one."),
    Column("level", Name(10), nullable=False, comment="Highest level told so far."),
    Column("title", Text, nullable=False, comment="Title of the message that told it."),
    Column("episode", Name(200), nullable=False, comment="Episode of that message."),
    Column("opened_at", UtcTimestamp, nullable=False, comment="When it was first seen, UTC."),
    Column("seen_at", UtcTimestamp, nullable=False, comment="When it was last seen, UTC."),
    sqlite_with_rowid=False,
    comment="Conditions that last; a row is deleted when its condition is over.",
)

alert_snoozes = Table(
    "alert_snoozes",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Symbol, or * for every message."),
    Column("kind", Name(30), primary_key=True, comment="Kind of condition or anomaly, or * for every kind."),
    Column("until", UtcTimestamp, nullable=False, comment="When it ends, UTC."),
    Column("created_at", UtcTimestamp, nullable=False, comment="When it was set, UTC."),
    sqlite_with_rowid=False,
    comment="Alerts that a person does not want for a time.",
)

alert_progress = Table(
    "alert_progress",
    metadata,
    Column("name", Name(100), primary_key=True, comment="watch, or a cursor over records of Dagster."),
    Column(
        "position", BigInteger, nullable=False, server_default=text("0"),
        comment="Last record that was read; only ever increases.",
    ),
    Column("holder", Name(200), comment="Of watch: the process that watches now, as host:pid:start."),
    Column("held_until", UtcTimestamp, comment="Of watch: when another process may take over, UTC."),
    Column("at", UtcTimestamp, nullable=False, comment="Of watch: when it last looked; else when it last moved, UTC."),
    sqlite_with_rowid=False,
    comment="Who watches, and how far.",
)
