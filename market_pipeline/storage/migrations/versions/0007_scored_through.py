"""Record up to which quote each symbol is scored, so that stalled scoring is noticed."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    """Create the table; the first tick fills it."""
    op.create_table(
        "scored_through",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column("coin_id", Name(100), nullable=False, comment="CoinGecko's id of the coin, e.g. bitcoin."),
        sa.Column("timestamp", UtcTimestamp, nullable=False, comment="Time of the newest scored quote, UTC."),
        sa.Column("scored_at", UtcTimestamp, nullable=False, comment="When that quote was first scored, UTC."),
        sa.PrimaryKeyConstraint("symbol", "coin_id", name="scored_through_pkey"),
        comment="Up to which quote the detectors have looked at each symbol, flagged or not.",
    )


def downgrade() -> None:
    """Drop the table; only the state of the installation depends on it."""
    op.drop_table("scored_through")
