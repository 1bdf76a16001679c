"""The tables. A column's comment is its one description: the migrations put it into PostgreSQL and
the Dagster UI shows it, so it carries the unit and the time zone.

`info["decides_change"]` names the columns in which an upserted row must differ to be written at all.
"""

from sqlalchemy import CheckConstraint, Column, Date, Double, Index, MetaData, Table, Text

from market_pipeline.storage.types import Name, UtcTimestamp

metadata = MetaData(
    naming_convention={"ck": "%(table_name)s_%(constraint_name)s", "pk": "%(table_name)s_pkey"}
)

raw_prices = Table(
    "raw_prices",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column(
        "timestamp", UtcTimestamp, primary_key=True, comment="When the price was true at the source, UTC."
    ),
    Column("price", Double, nullable=False, comment="Price of one coin in US dollars, above zero."),
    Column(
        "source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."
    ),
    Column("ingested_at", UtcTimestamp, nullable=False, comment="When this price was first stored, UTC."),
    # The upper bound refuses infinity, and NaN, which PostgreSQL sorts above it and SQLite stores as NULL.
    CheckConstraint("price > 0 AND price < 1e300", name="price_is_positive"),
    CheckConstraint("source IN ('simple_price', 'market_chart')", name="source_is_known"),
    sqlite_with_rowid=False,
    comment="Accepted quotes, one row per symbol and source time.",
    # Learning the same price again is no news: the first time of learning it is kept.
    info={"decides_change": ["price"]},
)

rejected_prices = Table(
    "rejected_prices",
    metadata,
    Column(
        "id",
        Name(32),
        primary_key=True,
        comment="Digest of symbol, day, reason and payload: the same refusal is one row.",
    ),
    Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
    Column("day", Date, nullable=False, comment="UTC day (partition) the refusal is filed under."),
    Column("reason", Name(30), nullable=False, comment="Why it was refused, e.g. negative_price."),
    Column("detail", Text, nullable=False, comment="One sentence with the offending value."),
    Column("timestamp", UtcTimestamp, comment="The time the point claimed, UTC, where it could be read."),
    Column("payload", Text, nullable=False, comment="The offending part of the answer, as JSON text."),
    Column(
        "source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."
    ),
    Column("run_id", Name(64), nullable=False, comment="The run that last saw it."),
    Column("refused_at", UtcTimestamp, nullable=False, comment="When it was last refused, UTC."),
    Index("rejected_prices_symbol_day", "symbol", "day"),
    comment="Quarantine: what was refused, why, and the payload.",
    info={"decides_change": ["run_id", "refused_at"]},
)

price_anomalies = Table(
    "price_anomalies",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column(
        "timestamp", UtcTimestamp, primary_key=True, comment="Time of the quote that completed the move, UTC."
    ),
    Column("detector", Name(40), primary_key=True, comment="Which detector flagged it, e.g. two_point."),
    Column("score", Double, nullable=False, comment="The detector's score, on the scale of its threshold."),
    Column("threshold", Double, nullable=False, comment="The score from which the detector flags."),
    Column("direction", Name(4), nullable=False, comment="up or down."),
    Column("price_before", Double, nullable=False, comment="Price before the move, US dollars."),
    Column(
        "timestamp_before", UtcTimestamp, nullable=False, comment="Time of the price before the move, UTC."
    ),
    Column("price_after", Double, nullable=False, comment="Price after the move, US dollars."),
    Column("move", Double, nullable=False, comment="Simple return over the move: 0.05 is +5 %."),
    Column(
        "expected_move",
        Double,
        comment="One standard deviation of the return over exactly this interval; "
        "empty where too little history is known.",
    ),
    Column("elapsed_seconds", Double, nullable=False, comment="Time between the two quotes, seconds."),
    Column("explanation", Text, nullable=False, comment="One plain sentence."),
    CheckConstraint("direction IN ('up', 'down')", name="direction_is_known"),
    sqlite_with_rowid=False,
    comment="Flagged moves, one row per symbol, time and detector.",
    info={"decides_change": ["score", "explanation"]},
)
