"""Store the highest scores of each day, the long memory of calibrations."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "daily_peaks",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column("coin_id", Name(100), nullable=False, comment="CoinGecko's id of the coin, e.g. bitcoin."),
        sa.Column("day", sa.Date(), nullable=False, comment="UTC day."),
        sa.Column(
            "detector_version", Name(40), nullable=False, comment="Version of the detectors that scored the day."
        ),
        sa.Column(
            "cadence", sa.Integer(), nullable=False,
            comment="Usual interval: 0 up to 20 minutes, 1 hourly, 2 daily; -1 where the day does not count.",
        ),
        sa.Column(
            "slow_volatility", sa.Double(), nullable=False,
            comment="Volatility of the last weeks at the end of the day, log return per square root of a minute.",
        ),
        sa.Column("large_move", sa.Double(), nullable=False, comment="Highest score of the coin's large moves."),
        sa.Column(
            "market", sa.Double(), nullable=False, comment="Highest score of the market's moves; 0 where unknown."
        ),
        sa.PrimaryKeyConstraint("symbol", "coin_id", "day", "detector_version", name=op.f("daily_peaks_pkey")),
        sqlite_with_rowid=False,
        comment="Highest scores of each day: the memory of calibrations.",
    )


def downgrade() -> None:
    """Drop the table; it is computed again from the prices."""
    op.drop_table("daily_peaks")
