"""Index refusals by time, so that recent ones are found without a full scan."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Index the quarantine by time."""
    op.create_index("rejected_prices_refused_at", "rejected_prices", ["refused_at"])


def downgrade() -> None:
    """Drop the index; every query works without it."""
    op.drop_index("rejected_prices_refused_at", "rejected_prices")
