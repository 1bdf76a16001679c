"""Store the bars of past days."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "daily_bars",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column("coin_id", Name(100), nullable=False, comment="CoinGecko's id of the coin, e.g. bitcoin."),
        sa.Column("day", sa.Date(), nullable=False, comment="UTC day, which is over."),
        sa.Column(
            "open", sa.Double(), nullable=False, comment="First price of the day, US dollars; bad ticks do not count."
        ),
        sa.Column("high", sa.Double(), nullable=False, comment="Highest price of the day, US dollars."),
        sa.Column("low", sa.Double(), nullable=False, comment="Lowest price of the day, US dollars."),
        sa.Column("close", sa.Double(), nullable=False, comment="Last price of the day, US dollars."),
        sa.Column("quotes", sa.Integer(), nullable=False, comment="Number of quotes that the bar is made of."),
        sa.Column(
            "realised_volatility", sa.Double(),
            comment="Square root of the sum of squared log returns over at least 5 minutes, scaled to 24 hours: 0.03 "
            "is 3% a day; empty where they cover less than half of the day.",
        ),
        sa.Column(
            "completeness", sa.Double(), nullable=False,
            comment="Share of the day's 24 hours that have a quote, 0 to 1.",
        ),
        sa.CheckConstraint(
            "low > 0 AND low <= open AND low <= close AND high >= open AND high >= close",
            name=op.f("daily_bars_is_a_bar"),
        ),
        sa.PrimaryKeyConstraint("symbol", "coin_id", "day", name=op.f("daily_bars_pkey")),
        sqlite_with_rowid=False,
        comment="Bars of past UTC days, one row per symbol and day with a quote.",
    )


def downgrade() -> None:
    """Drop the table; it is computed again from the prices."""
    op.drop_table("daily_bars")
