"""Store for a day how many coins a price request may name after longer ones were refused."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0008"
down_revision = "0007"

_OUTCOME = "HTTP status; 'no answer'; {}'not told' while under way and where the process died."


def upgrade() -> None:
    """Add the columns, and the outcome 'not sent' to what the ledger says of itself."""
    length = sa.Column(
        "ids_per_request", sa.Integer, comment="Most coins of a price request; empty if no length was refused."
    )
    until = sa.Column("ids_per_request_until", UtcTimestamp, comment="When a longer one is tried again, UTC.")
    op.add_column("request_budgets", length)
    op.add_column("request_budgets", until)
    _describe_outcome("'not sent' if it never left; ")


def downgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("request_budgets") as table:
        table.drop_column("ids_per_request_until")
        table.drop_column("ids_per_request")
    _describe_outcome("")


def _describe_outcome(unsent: str) -> None:
    # SQLite has no comments, and altering a column there copies the table.
    if op.get_bind().dialect.name == "postgresql":
        op.alter_column(
            "request_ledger", "outcome", existing_type=Name(20), existing_nullable=False,
            comment=_OUTCOME.format(unsent),
        )
