"""Let absences expire: whether they are proven, how often and since when they were found, when to ask again.

Rows from before may rest on a single empty answer: they count as not proven, and the source is asked again at once.
"""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import UtcTimestamp

revision = "0006"
down_revision = "0005"

_ADDED = ("proven", "times_asked", "first_found_at", "ask_again_at")
_BEFORE = "Stretches of which the source itself has no prices; they are not asked for again."
_AFTER = "Stretches for which the source gave no prices, and when it is asked again."


def upgrade() -> None:
    """Add the columns; SQLite adds them in place, so views of the table stay as they are."""
    proven = "Whether the answer covered the time, so that the source itself has no prices there."
    asked = "How often the source was asked in its turn and gave no prices."
    first = "When it first gave none, UTC; empty: at found_at."
    again = "When it is to be asked again, UTC; empty: at once."
    for column in (
        sa.Column("proven", sa.Boolean(), nullable=False, server_default=sa.false(), comment=proven),
        sa.Column("times_asked", sa.Integer(), nullable=False, server_default=sa.text("0"), comment=asked),
        sa.Column("first_found_at", UtcTimestamp(), comment=first),
        sa.Column("ask_again_at", UtcTimestamp(), comment=again),
    ):
        op.add_column("source_gaps", column)
    _describe(_AFTER)


def downgrade() -> None:
    """Drop the columns; absences no longer expire."""
    for name in _ADDED:
        op.drop_column("source_gaps", name)
    _describe(_BEFORE)


def _describe(comment: str) -> None:
    if op.get_bind().dialect.name == "postgresql":
        op.create_table_comment("source_gaps", comment)
