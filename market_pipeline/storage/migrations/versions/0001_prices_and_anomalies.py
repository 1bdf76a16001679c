"""Create raw_prices, rejected_prices and price_anomalies."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0001"
down_revision = None


def upgrade() -> None:
    _raw_prices()
    _rejected_prices()
    _price_anomalies()


def downgrade() -> None:
    op.drop_table("price_anomalies")
    op.drop_table("rejected_prices")
    op.drop_table("raw_prices")


def _raw_prices() -> None:
    op.create_table(
        "raw_prices",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column(
            "timestamp", UtcTimestamp(), nullable=False, comment="When the price was true at the source, UTC."
        ),
        sa.Column(
            "price", sa.Double(), nullable=False, comment="Price of one coin in US dollars, above zero."
        ),
        sa.Column(
            "source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."
        ),
        sa.Column(
            "ingested_at", UtcTimestamp(), nullable=False, comment="When this price was first stored, UTC."
        ),
        sa.PrimaryKeyConstraint("symbol", "timestamp", name=op.f("raw_prices_pkey")),
        sa.CheckConstraint("price > 0 AND price < 1e300", name=op.f("raw_prices_price_is_positive")),
        sa.CheckConstraint(
            "source IN ('simple_price', 'market_chart')", name=op.f("raw_prices_source_is_known")
        ),
        sqlite_with_rowid=False,
        comment="Accepted quotes, one row per symbol and source time.",
    )


def _rejected_prices() -> None:
    op.create_table(
        "rejected_prices",
        sa.Column(
            "id",
            Name(32),
            nullable=False,
            comment="Digest of symbol, day, reason and payload: the same refusal is one row.",
        ),
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column(
            "day", sa.Date(), nullable=False, comment="UTC day (partition) the refusal is filed under."
        ),
        sa.Column("reason", Name(30), nullable=False, comment="Why it was refused, e.g. negative_price."),
        sa.Column("detail", sa.Text(), nullable=False, comment="One sentence with the offending value."),
        sa.Column(
            "timestamp", UtcTimestamp(), comment="The time the point claimed, UTC, where it could be read."
        ),
        sa.Column(
            "payload", sa.Text(), nullable=False, comment="The offending part of the answer, as JSON text."
        ),
        sa.Column(
            "source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."
        ),
        sa.Column("run_id", Name(64), nullable=False, comment="The run that last saw it."),
        sa.Column("refused_at", UtcTimestamp(), nullable=False, comment="When it was last refused, UTC."),
        sa.PrimaryKeyConstraint("id", name=op.f("rejected_prices_pkey")),
        comment="Quarantine: what was refused, why, and the payload.",
    )
    op.create_index("rejected_prices_symbol_day", "rejected_prices", ["symbol", "day"])


def _price_anomalies() -> None:
    op.create_table(
        "price_anomalies",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column(
            "timestamp",
            UtcTimestamp(),
            nullable=False,
            comment="Time of the quote that completed the move, UTC.",
        ),
        sa.Column("detector", Name(40), nullable=False, comment="Which detector flagged it, e.g. two_point."),
        sa.Column(
            "score",
            sa.Double(),
            nullable=False,
            comment="The detector's score, on the scale of its threshold.",
        ),
        sa.Column(
            "threshold", sa.Double(), nullable=False, comment="The score from which the detector flags."
        ),
        sa.Column("direction", Name(4), nullable=False, comment="up or down."),
        sa.Column("price_before", sa.Double(), nullable=False, comment="Price before the move, US dollars."),
        sa.Column(
            "timestamp_before",
            UtcTimestamp(),
            nullable=False,
            comment="Time of the price before the move, UTC.",
        ),
        sa.Column("price_after", sa.Double(), nullable=False, comment="Price after the move, US dollars."),
        sa.Column("move", sa.Double(), nullable=False, comment="Simple return over the move: 0.05 is +5 %."),
        sa.Column(
            "expected_move",
            sa.Double(),
            comment="One standard deviation of the return over exactly this interval; "
            "empty where too little history is known.",
        ),
        sa.Column(
            "elapsed_seconds", sa.Double(), nullable=False, comment="Time between the two quotes, seconds."
        ),
        sa.Column("explanation", sa.Text(), nullable=False, comment="One plain sentence."),
        sa.PrimaryKeyConstraint("symbol", "timestamp", "detector", name=op.f("price_anomalies_pkey")),
        sa.CheckConstraint("direction IN ('up', 'down')", name=op.f("price_anomalies_direction_is_known")),
        sqlite_with_rowid=False,
        comment="Flagged moves, one row per symbol, time and detector.",
    )
