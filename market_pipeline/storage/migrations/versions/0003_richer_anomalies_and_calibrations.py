"""Give anomalies their kind, scope, severity and episode, and add the calibrations of the detectors.

Rows of the first detectors are kept under the kinds that took their place, with what was never
computed left open, until their days are scored again.
"""

import hashlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0003"
down_revision = "0002"

_KINDS = {"two_point": "user_threshold", "ewma": "jump"}
_DETECTORS = {kind: detector for detector, kind in _KINDS.items()}
_ROWS_AT_ONCE = 1_000
_BEFORE = "price_anomalies_before"

_Row = dict[str, Any]
# Name, type, comment, and whether it may be empty.
_Column = tuple[Any, ...]

_RULES = {
    "direction_is_known": "direction IN ('up', 'down', 'none')",
    "severity_is_known": "severity IN ('watch', 'alert', 'critical')",
    "scope_is_known": "scope IN ('market', 'idiosyncratic', 'mixed', 'unknown')",
    "confirmation_is_known": "confirmation IN ('persisted', 'reverted')",
    "numbers_are_finite":
        "abs(move) < 1e308 AND abs(score) < 1e308 AND price_after > 0 AND price_after < 1e300",
}
_NEW: list[_Column] = [
    ("symbol", Name(20), "Upper-case symbol, e.g. BTC."),
    ("timestamp", UtcTimestamp(), "Time of the flagged quote, UTC."),
    ("kind", Name(20), "What was flagged: jump, large_move, ..."),
    ("id", Name(32), "Digest of symbol, timestamp and kind."),
    (
        "episode_id", Name(32),
        "Id of the first row of the episode: same symbol and kind, at most 60 minutes apart.",
    ),
    (
        "event_id", Name(32),
        "Id of the row that stands for this one: its market_move, its bad tick, or the rarer row of the "
        "same quote. A market_move has its own id here; empty for other rows that stand on their own.", True,
    ),
    ("scope", Name(20), "market, idiosyncratic, mixed or unknown."),
    ("severity", Name(10), "watch, alert or critical, by p_calibrated."),
    ("direction", Name(4), "up, down, or none (a feed that stands still)."),
    ("detected_at", UtcTimestamp(), "Time of the quote with which it could first be known, UTC."),
    ("price_before", sa.Double(), "Price before the move, US dollars."),
    ("timestamp_before", UtcTimestamp(), "Time of the price before the move, UTC."),
    ("price_after", sa.Double(), "Price after the move, US dollars."),
    ("move", sa.Double(), "Simple return over the move: 0.05 is +5 %."),
    ("elapsed_seconds", sa.Double(), "Time of the move, seconds."),
    (
        "horizon_minutes", sa.Double(),
        "Horizon over which it was largest, minutes; the elapsed time for moves between two quotes.",
    ),
    (
        "expected_move", sa.Double(),
        "One standard deviation of the return over exactly the elapsed time; empty where not known.", True,
    ),
    ("score", sa.Double(), "The detector's score, on the scale of its threshold."),
    ("threshold", sa.Double(), "The score from which the detector flags."),
    ("z", sa.Double(), "The move in standard deviations, signed.", True),
    ("p_raw", sa.Double(), "Two-sided probability of the move by the volatility filter.", True),
    ("p_calibrated", sa.Double(), "The same, by how often such scores came in the past.", True),
    ("expected_every_days", sa.Double(), "Once in how many days a quote like this is expected, days.", True),
    ("volatility_annual", sa.Double(), "Volatility known before the move, per year: 0.6 is 60 %.", True),
    (
        "volatility_percentile", sa.Double(),
        "Share of the calibration's days with lower volatility, 0 to 100.", True,
    ),
    ("hour_factor", sa.Double(), "Usual volatility of this UTC hour over the day's: 1 is usual."),
    ("market_z", sa.Double(), "Median move of the other coins in standard deviations, signed.", True),
    ("beta", sa.Double(), "Standard deviations that the coin usually moves for one of the market's.", True),
    ("residual_z", sa.Double(), "What is left without the market, in its own standard deviations.", True),
    ("market_share", sa.Double(), "Share of the move that the market explains, 0 to 1.", True),
    ("peers_moved", sa.Integer(), "How many other coins moved the same way by 2 or more.", True),
    ("members", sa.Text(), "Symbols of a market event, comma separated, the largest mover first.", True),
    ("quotes_used", sa.Integer(), "Changed quotes known before this one."),
    ("stale_minutes", sa.Double(), "Minutes since the price last changed."),
    ("calibration", Name(10), "gpd (from the past) or prior (too little past)."),
    ("calibrated_at", UtcTimestamp(), "As-of time of the calibration used, UTC.", True),
    ("quality_flags", sa.Text(), "Comma separated, e.g. warm_up; empty if none."),
    ("confirmation", Name(10), "persisted or reverted, once later quotes decide; empty before.", True),
    ("confirmed_at", UtcTimestamp(), "Time of the quote that decided, UTC.", True),
    ("confirmed_price", sa.Double(), "Price of the quote that decided, US dollars.", True),
    ("episode_first", UtcTimestamp(), "First flagged quote of the episode, UTC."),
    ("episode_peak", UtcTimestamp(), "Most unusual quote of the episode, UTC."),
    ("episode_last", UtcTimestamp(), "Last flagged quote of the episode, UTC."),
    ("detector_version", Name(40), "Version of the detectors and their parameters."),
    ("explanation", sa.Text(), "One plain sentence."),
]
_CALIBRATIONS: list[_Column] = [
    ("as_of", UtcTimestamp(), "Made from quotes before this time only, UTC; scores days from then on."),
    ("detector_version", Name(40), "Version of the detectors whose scores it calibrates."),
    ("document", sa.Text(), "The calibration as JSON."),
    ("calibrated_at", UtcTimestamp(), "When it was computed, UTC."),
]
_OLD: list[_Column] = [
    ("symbol", Name(20), "Upper-case symbol, e.g. BTC."),
    ("timestamp", UtcTimestamp(), "Time of the quote that completed the move, UTC."),
    ("detector", Name(40), "Which detector flagged it, e.g. two_point."),
    ("score", sa.Double(), "The detector's score, on the scale of its threshold."),
    ("threshold", sa.Double(), "The score from which the detector flags."),
    ("direction", Name(4), "up or down."),
    ("price_before", sa.Double(), "Price before the move, US dollars."),
    ("timestamp_before", UtcTimestamp(), "Time of the price before the move, UTC."),
    ("price_after", sa.Double(), "Price after the move, US dollars."),
    ("move", sa.Double(), "Simple return over the move: 0.05 is +5 %."),
    (
        "expected_move", sa.Double(),
        "One standard deviation of the return over exactly this interval; empty where too little history "
        "is known.", True,
    ),
    ("elapsed_seconds", sa.Double(), "Time between the two quotes, seconds."),
    ("explanation", sa.Text(), "One plain sentence."),
]


def upgrade() -> None:
    _set_aside()
    table = _price_anomalies()
    _move(table, _OLD, _upgraded)
    op.create_index("price_anomalies_id", "price_anomalies", ["id"], unique=True)
    op.create_index("price_anomalies_event", "price_anomalies", ["event_id"])
    _detector_calibrations()


def downgrade() -> None:
    op.drop_table("detector_calibrations")
    op.drop_index("price_anomalies_event", "price_anomalies")
    op.drop_index("price_anomalies_id", "price_anomalies")
    _set_aside()
    table = op.create_table(
        "price_anomalies",
        *(_column(*column) for column in _OLD),
        sa.PrimaryKeyConstraint("symbol", "timestamp", "detector", name=op.f("price_anomalies_pkey")),
        sa.CheckConstraint("direction IN ('up', 'down')", name=op.f("price_anomalies_direction_is_known")),
        sqlite_with_rowid=False,
        comment="Flagged moves, one row per symbol, time and detector.",
    )
    _move(table, _NEW, _downgraded)


def _set_aside() -> None:
    op.rename_table("price_anomalies", _BEFORE)
    if op.get_bind().dialect.name == "postgresql":
        # Its name is needed for the key of the table that takes its place.
        op.drop_constraint("price_anomalies_pkey", _BEFORE)


def _move(table: sa.Table, columns: list[_Column], changed: Callable[[_Row], _Row | None]) -> None:
    """Fill `table` with what `changed` makes of the rows set aside, and drop those."""
    before = sa.table(_BEFORE, *(sa.column(name, kind) for name, kind, *_ in columns))
    connection = op.get_bind()
    for rows in connection.execute(sa.select(before)).mappings().partitions(_ROWS_AT_ONCE):
        new = [row for row in (changed(dict(row)) for row in rows) if row is not None]
        if new:
            connection.execute(table.insert(), new)
    op.drop_table(_BEFORE)


def _upgraded(row: _Row) -> _Row:
    """Return a row of the first detectors as the later ones would have written it."""
    kind = _KINDS.get(row["detector"], row["detector"][:20])
    text = f"{row['symbol']}|{row['timestamp'].isoformat()}|{kind}"
    number = hashlib.sha256(text.encode()).hexdigest()[:32]
    when = row["timestamp"]
    kept = {name: value for name, value in row.items() if name != "detector"}
    return {
        **{name: None for name, *_ in _NEW},
        **kept,
        **{"kind": kind, "id": number, "episode_id": number, "scope": "unknown", "severity": "watch"},
        **{"detected_at": when, "episode_first": when, "episode_peak": when, "episode_last": when},
        **{"horizon_minutes": row["elapsed_seconds"] / 60, "hour_factor": 1.0, "quotes_used": 0},
        **{"stale_minutes": 0.0, "calibration": "prior", "quality_flags": "old_rules"},
        "detector_version": "1",
    }


def _downgraded(row: _Row) -> _Row | None:
    """Return the row as the first detectors would have written it; None if they had no such kind."""
    if row["direction"] == "none":
        return None
    detector = _DETECTORS.get(row["kind"], row["kind"])
    return {name: detector if name == "detector" else row[name] for name, *_ in _OLD}


def _price_anomalies() -> sa.Table:
    return op.create_table(
        "price_anomalies",
        *(_column(*column) for column in _NEW),
        sa.PrimaryKeyConstraint("symbol", "timestamp", "kind", name=op.f("price_anomalies_pkey")),
        *(
            sa.CheckConstraint(rule, name=op.f(f"price_anomalies_{name}"))
            for name, rule in _RULES.items()
        ),
        sqlite_with_rowid=False,
        comment="Flagged quotes, one row per symbol, time and kind.",
    )


def _detector_calibrations() -> None:
    op.create_table(
        "detector_calibrations",
        *(_column(*column) for column in _CALIBRATIONS),
        sa.PrimaryKeyConstraint("as_of", "detector_version", name=op.f("detector_calibrations_pkey")),
        sqlite_with_rowid=False,
        comment="What is usual: hour factors and score tails, one row per as-of time; never changed once stored.",
    )


def _column(name: str, kind: Any, comment: str, nullable: bool = False) -> "sa.Column[Any]":
    return sa.Column(name, kind, nullable=nullable, comment=comment)
