"""Store alerts: the outbox, its deliveries, open episodes, snoozes, and who watches."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0014"
down_revision = "0013"

# SQLite numbers rows by itself in a column of the type INTEGER only.
_NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TABLES = (
    "alert_messages",
    "alert_receivers",
    "alert_deliveries",
    "alert_episodes",
    "alert_snoozes",
    "alert_progress",
)


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "alert_messages",
        sa.Column("id", _NUMBER, autoincrement=True, nullable=False, comment="In the order in which they were raised."),
        sa.Column("episode", Name(200), nullable=False, comment="What it is about, with the time at which that began."),
        sa.Column(
            "transition", Name(20), nullable=False,
            comment="opened, raised (to a higher level), recovered, passed (begun and over) or test.",
        ),
        sa.Column("kind", Name(30), nullable=False, comment="Kind of the condition or anomaly."),
        sa.Column("symbols", sa.Text(), nullable=False, comment="Symbols concerned, comma separated; empty if none."),
        sa.Column("level", Name(10), nullable=False, comment="watch, alert or critical."),
        sa.Column("title", sa.Text(), nullable=False, comment="First line of the message."),
        sa.Column("body", sa.Text(), nullable=False, comment="The rest of the message."),
        sa.Column("anomaly_id", Name(32), comment="Id of the anomaly; empty for conditions."),
        sa.Column("created_at", UtcTimestamp(), nullable=False, comment="When it was raised, UTC."),
        sa.UniqueConstraint("episode", "transition", name="alert_messages_episode_transition"),
        sa.CheckConstraint("level IN ('watch', 'alert', 'critical')", name=op.f("alert_messages_level_is_known")),
        sa.PrimaryKeyConstraint("id", name=op.f("alert_messages_pkey")),
        comment="Outbox of alerts: one row per message.",
    )
    op.create_index("alert_messages_created_at", "alert_messages", ["created_at"])
    op.create_table(
        "alert_receivers",
        sa.Column(
            "receiver", Name(60), nullable=False,
            comment="Scheme and digest of the receiver's URL, e.g. slack-1a2b3c4d.",
        ),
        sa.Column(
            "queued_to", sa.BigInteger(), nullable=False, comment="Newest message queued for it; only ever increases."
        ),
        sa.Column(
            "failures", sa.Integer(), nullable=False, server_default=sa.text("0"),
            comment="Attempts that failed since it last accepted a message.",
        ),
        sa.Column("retry_at", UtcTimestamp(), comment="No attempt before this time, UTC."),
        sa.Column("last_error", sa.Text(), comment="Why the last attempt failed; empty after a success."),
        sa.Column("accepted_at", UtcTimestamp(), comment="When it last accepted a message, UTC."),
        sa.PrimaryKeyConstraint("receiver", name=op.f("alert_receivers_pkey")),
        comment="Receivers of alerts and the state of their delivery.",
    )
    op.create_table(
        "alert_deliveries",
        sa.Column("receiver", Name(60), nullable=False, comment="As in alert_receivers."),
        sa.Column("message_id", sa.BigInteger(), nullable=False, comment="Id in alert_messages."),
        sa.Column("state", Name(10), nullable=False, comment="pending, sent, dropped (no longer wanted) or refused."),
        sa.Column("due_at", UtcTimestamp(), nullable=False, comment="Not sent before this time, UTC."),
        sa.Column(
            "refusals", sa.Integer(), nullable=False, server_default=sa.text("0"),
            comment="Attempts that failed while the receiver accepted others.",
        ),
        sa.Column("reason", sa.Text(), comment="Why it waits, was dropped or refused; empty otherwise."),
        sa.Column("settled_at", UtcTimestamp(), comment="When it was sent, dropped or refused, UTC."),
        sa.CheckConstraint(
            "state IN ('pending', 'sent', 'dropped', 'refused')", name=op.f("alert_deliveries_state_is_known")
        ),
        sa.PrimaryKeyConstraint("receiver", "message_id", name=op.f("alert_deliveries_pkey")),
        sqlite_with_rowid=False,
        comment="One row per message and receiver.",
    )
    op.create_index("alert_deliveries_state", "alert_deliveries", ["state", "receiver", "message_id"])
    op.create_table(
        "alert_episodes",
        sa.Column(
            "key", Name(200), nullable=False, comment="Kind and subject of the condition, with the symbol if any."
        ),
        sa.Column("kind", Name(30), nullable=False, comment="Kind of the condition."),
        sa.Column("symbol", Name(20), nullable=False, comment="Symbol concerned; empty if it is not about one."),
        sa.Column("level", Name(10), nullable=False, comment="Highest level told so far."),
        sa.Column("title", sa.Text(), nullable=False, comment="Title of the message that told it."),
        sa.Column("episode", Name(200), nullable=False, comment="Episode of that message."),
        sa.Column("opened_at", UtcTimestamp(), nullable=False, comment="When it was first seen, UTC."),
        sa.Column("seen_at", UtcTimestamp(), nullable=False, comment="When it was last seen, UTC."),
        sa.PrimaryKeyConstraint("key", name=op.f("alert_episodes_pkey")),
        sqlite_with_rowid=False,
        comment="Conditions that last; a row is deleted when its condition is over.",
    )
    op.create_table(
        "alert_snoozes",
        sa.Column("symbol", Name(20), nullable=False, comment="Symbol, or * for every message."),
        sa.Column("kind", Name(30), nullable=False, comment="Kind of condition or anomaly, or * for every kind."),
        sa.Column("until", UtcTimestamp(), nullable=False, comment="When it ends, UTC."),
        sa.Column("created_at", UtcTimestamp(), nullable=False, comment="When it was set, UTC."),
        sa.PrimaryKeyConstraint("symbol", "kind", name=op.f("alert_snoozes_pkey")),
        sqlite_with_rowid=False,
        comment="Alerts that a person does not want for a time.",
    )
    op.create_table(
        "alert_progress",
        sa.Column("name", Name(100), nullable=False, comment="watch, or a cursor over records of Dagster."),
        sa.Column(
            "position", sa.BigInteger(), nullable=False, server_default=sa.text("0"),
            comment="Last record that was read; only ever increases.",
        ),
        sa.Column("holder", Name(200), comment="Of watch: the process that watches now, as host:pid:start."),
        sa.Column("held_until", UtcTimestamp(), comment="Of watch: when another process may take over, UTC."),
        sa.Column(
            "at", UtcTimestamp(), nullable=False, comment="Of watch: when it last looked; else when it last moved, UTC."
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("alert_progress_pkey")),
        sqlite_with_rowid=False,
        comment="Who watches, and how far.",
    )


def downgrade() -> None:
    """Drop the tables, with the alerts in them."""
    for table in reversed(_TABLES):
        op.drop_table(table)
