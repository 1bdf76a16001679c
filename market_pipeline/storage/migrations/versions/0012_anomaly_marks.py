"""Store what people say of anomalies: real, noise or expected."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "anomaly_marks",
        sa.Column(
            "anomaly_id", Name(32), nullable=False,
            comment="Id of the anomaly: digest of symbol, timestamp and kind, so that a mark survives rescoring.",
        ),
        sa.Column("coin_id", Name(100), nullable=False, comment="CoinGecko's id of the coin, e.g. bitcoin."),
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column("timestamp", UtcTimestamp(), nullable=False, comment="Time of the flagged quote, UTC."),
        sa.Column("kind", Name(20), nullable=False, comment="What was flagged: jump, large_move, ..."),
        sa.Column(
            "timestamp_before", UtcTimestamp(), nullable=False, comment="Time of the price before the move, UTC."
        ),
        sa.Column(
            "price_before", sa.Double(), nullable=False,
            comment="Price before the move when it was marked, US dollars.",
        ),
        sa.Column(
            "price_after", sa.Double(), nullable=False, comment="Price after the move when it was marked, US dollars."
        ),
        sa.Column(
            "mark", Name(10), nullable=False, comment="real, noise or expected: what a person says of the anomaly."
        ),
        sa.Column("note", sa.Text(), comment="The person's note; empty if none."),
        sa.Column("marked_at", UtcTimestamp(), nullable=False, comment="When it was marked so, UTC."),
        sa.CheckConstraint("mark IN ('real', 'noise', 'expected')", name=op.f("anomaly_marks_mark_is_known")),
        sa.PrimaryKeyConstraint("anomaly_id", "coin_id", name=op.f("anomaly_marks_pkey")),
        sqlite_with_rowid=False,
        comment="Marks that people gave to anomalies; the last one counts.",
    )


def downgrade() -> None:
    """Drop the table with the marks in it."""
    op.drop_table("anomaly_marks")
