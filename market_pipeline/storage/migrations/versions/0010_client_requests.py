"""Give the API's limit of requests by client a table of its own, and describe columns in plain English."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0010"
down_revision = "0009"

_COIN_ID = "CoinGecko's id of the coin, e.g. bitcoin."
_TABLES = {
    "detector_calibrations": "Calibrations: hour factors and score tails, one row per as-of time and coin; never "
    "changed once stored.",
    "price_revisions": "Prices that changed after the fact; filled by a trigger on raw_prices.",
    "scored_through": "The newest scored quote of each symbol, flagged or not.",
    "source_gaps": "Stretches for which the source gave no prices, and when the next request is due.",
}
_COLUMNS = {
    "coin_identities": {
        "likely_id": "The id that probably replaced it.",
        "checked_at": "Time of the request to /coins/list, UTC.",
    },
    "detector_calibrations": {"coin_id": _COIN_ID},
    "price_anomalies": {
        "coin_id": _COIN_ID,
        "event_id": "Id of the row that represents this one: its market_move, its bad tick, or the rarer row of the "
        "same quote. A market_move has its own id here; empty for other alarms.",
        "direction": "up, down, or none (a stale feed).",
        "detected_at": "Time of the first quote that revealed it, UTC.",
        "move": "Simple return over the move: 0.05 is +5%.",
        "expected_move": "One standard deviation of the return over exactly the elapsed time; empty if unknown.",
        "p_calibrated": "The same, by the share of past scores that were as high.",
        "volatility_annual": "Volatility known before the move, per year: 0.6 is 60%.",
        "residual_z": "The move without the market's part, in its own standard deviations.",
    },
    "price_revisions": {"coin_id": _COIN_ID},
    "raw_prices": {"coin_id": _COIN_ID},
    "rejected_prices": {"coin_id": _COIN_ID},
    "request_budgets": {
        "account": "Account of the limit: plan, host, digest of the key.",
        "waiting": "The queue, in order: [ticket, time of its owner's next look, its earliest turn], times as in "
        "granted.",
        "cool_down_until": "No request is granted before this time, UTC.",
        "cool_down_reason": "Reason for the cool-down.",
        "told_per_minute": "Requests a minute as reported by /key; empty if unknown.",
        "told_monthly": "Credits a month as reported by /key; empty if unknown.",
        "told_at": "Time of that report, UTC.",
        "ids_per_request_until": "When a longer request is tried again, UTC.",
    },
    "request_ledger": {"account": "Account of the limit that they count against."},
    "source_gaps": {
        "coin_id": _COIN_ID,
        "found_at": "Time of the last request for it, UTC.",
        "times_asked": "Number of due requests that returned no prices.",
        "first_found_at": "Time of the first request that returned none, UTC; empty: found_at.",
        "ask_again_at": "When the next request is due, UTC; empty: at once.",
    },
}


def upgrade() -> None:
    """Create the table and drop the clients among the budgets: they count for a minute only."""
    op.create_table(
        "client_requests",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
            comment="In the order of admission.",
        ),
        sa.Column("client", Name(200), nullable=False, comment="Address of the client."),
        sa.Column("admitted_at", UtcTimestamp(), nullable=False, comment="When the request was admitted, UTC."),
        sa.PrimaryKeyConstraint("id", name=op.f("client_requests_pkey")),
        comment="Requests for new prices that the API admitted in the last minute.",
    )
    op.create_index("client_requests_client_admitted_at", "client_requests", ["client", "admitted_at"])
    op.create_index("client_requests_admitted_at", "client_requests", ["admitted_at"])
    op.execute("DELETE FROM request_budgets WHERE account LIKE 'client %'")
    # SQLite has no comments.
    if op.get_bind().dialect.name == "postgresql":
        for table, comment in _TABLES.items():
            op.create_table_comment(table, comment)
        for table, columns in _COLUMNS.items():
            for column, comment in columns.items():
                op.alter_column(table, column, comment=comment)


def downgrade() -> None:
    """Drop the table; the descriptions stay."""
    op.drop_table("client_requests")
