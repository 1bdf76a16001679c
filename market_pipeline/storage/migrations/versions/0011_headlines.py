"""Give anomalies a headline, an importance, the market's move and what their calibration rests on."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name

revision = "0011"
down_revision = "0010"

_COMMENTS = {
    "severity": "watch, alert or critical, by how rare and how large the move is.",
    "calibration": "What the probability rests on: own, pooled (all coins) or prior; gpd in older rows.",
    "explanation": "What was expected, what the other coins did and what that rests on.",
}


def upgrade() -> None:
    """Add the columns in place; rows keep what they have, and an empty headline, until their days are scored again."""
    for column in _columns():
        op.add_column("price_anomalies", column)
    # SQLite has no comments.
    if op.get_bind().dialect.name == "postgresql":
        for name, comment in _COMMENTS.items():
            op.alter_column("price_anomalies", name, comment=comment)


def downgrade() -> None:
    """Drop the columns; the descriptions stay."""
    for column in reversed(_columns()):
        op.drop_column("price_anomalies", column.name)


def _columns() -> "list[sa.Column[object]]":
    return [
        sa.Column("importance", sa.Double(), comment="Orders alarms: the higher, the sooner to be read."),
        sa.Column(
            "market_move",
            sa.Double(),
            comment="Median simple return of the coins of the event, or of the other coins over the same time.",
        ),
        sa.Column("cadence", Name(10), comment="Usual interval of the quotes: 5-minute, hourly or daily."),
        sa.Column("calibration_days", sa.Double(), comment="Days of history that the probability rests on."),
        sa.Column(
            "calibration_excesses", sa.Integer(), comment="Number of high past scores that the probability rests on."
        ),
        sa.Column(
            "headline",
            sa.Text(),
            nullable=False,
            server_default=sa.text("''"),
            comment="What happened, how much and when, in at most 140 characters; empty in older rows.",
        ),
    ]
