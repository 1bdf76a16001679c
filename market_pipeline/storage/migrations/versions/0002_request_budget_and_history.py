"""Add the request budget and its ledger, price revisions, source gaps and coin identities."""

import sqlalchemy as sa
from alembic import op

from market_pipeline.storage.schema.types import Name, UtcTimestamp

revision = "0002"
down_revision = "0001"

_SQLITE_TRIGGER = """
CREATE TRIGGER raw_prices_revised AFTER UPDATE OF price ON raw_prices
WHEN OLD.price IS NOT NEW.price
BEGIN
    INSERT INTO price_revisions (symbol, timestamp, price_before, source_before, ingested_before,
                                 price_after, source_after, ingested_after)
    VALUES (OLD.symbol, OLD.timestamp, OLD.price, OLD.source, OLD.ingested_at,
            NEW.price, NEW.source, NEW.ingested_at);
END
"""
_POSTGRESQL_FUNCTION = """
CREATE FUNCTION raw_prices_revised() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO price_revisions (symbol, timestamp, price_before, source_before, ingested_before,
                                 price_after, source_after, ingested_after)
    VALUES (OLD.symbol, OLD.timestamp, OLD.price, OLD.source, OLD.ingested_at,
            NEW.price, NEW.source, NEW.ingested_at);
    RETURN NULL;
END
$$
"""
_POSTGRESQL_TRIGGER = """
CREATE TRIGGER raw_prices_revised AFTER UPDATE OF price ON raw_prices
FOR EACH ROW WHEN (OLD.price IS DISTINCT FROM NEW.price) EXECUTE FUNCTION raw_prices_revised()
"""


def upgrade() -> None:
    _request_budgets()
    _request_ledger()
    _price_revisions()
    _source_gaps()
    _coin_identities()


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER raw_prices_revised")
    else:
        op.execute("DROP TRIGGER raw_prices_revised ON raw_prices")
        op.execute("DROP FUNCTION raw_prices_revised()")
    for table in ("coin_identities", "source_gaps", "price_revisions", "request_ledger", "request_budgets"):
        op.drop_table(table)


def _request_budgets() -> None:
    op.create_table(
        "request_budgets",
        sa.Column(
            "account",
            Name(200),
            nullable=False,
            comment="Whose limit it is: plan, host, digest of the key.",
        ),
        sa.Column(
            "granted",
            sa.JSON(),
            nullable=False,
            comment="When the requests of the last minute were granted: microseconds since 1970 UTC, "
            "oldest first.",
        ),
        sa.Column(
            "waiting",
            sa.JSON(),
            nullable=False,
            comment="Who waits, in order: [ticket, when its owner looks next, its earliest turn], in such "
            "microseconds.",
        ),
        sa.Column("cool_down_until", UtcTimestamp(), comment="Nobody may ask before this time, UTC."),
        sa.Column("cool_down_reason", sa.Text(), comment="Why nobody may ask until then."),
        sa.Column(
            "month",
            sa.Date(),
            nullable=False,
            comment="First day of the UTC month that credits_used counts.",
        ),
        sa.Column(
            "credits_used",
            sa.BigInteger(),
            nullable=False,
            comment="Credits of that month spent so far.",
        ),
        sa.Column(
            "told_per_minute",
            sa.Integer(),
            comment="Requests a minute, as /key told; empty if it was not asked.",
        ),
        sa.Column(
            "told_monthly",
            sa.BigInteger(),
            comment="Credits a month, as /key told; empty if it was not asked.",
        ),
        sa.Column("told_at", UtcTimestamp(), comment="When /key told so, UTC."),
        sa.PrimaryKeyConstraint("account", name=op.f("request_budgets_pkey")),
        comment="The state of each request budget, shared by every process.",
    )


def _request_ledger() -> None:
    op.create_table(
        "request_ledger",
        sa.Column(
            "hour",
            UtcTimestamp(),
            nullable=False,
            comment="UTC hour in which the requests were granted.",
        ),
        sa.Column("account", Name(200), nullable=False, comment="Whose limit they count against."),
        sa.Column(
            "endpoint",
            Name(100),
            nullable=False,
            comment="Path with {id} for a coin, e.g. /simple/price.",
        ),
        sa.Column(
            "outcome",
            Name(20),
            nullable=False,
            comment="HTTP status; 'no answer'; 'not told' while under way and where the process died.",
        ),
        sa.Column("plan", Name(10), nullable=False, comment="keyless, demo or pro."),
        sa.Column("requests", sa.BigInteger(), nullable=False, comment="Requests sent, retries included."),
        sa.Column(
            "credits",
            sa.BigInteger(),
            nullable=False,
            comment="Credits they cost; 0 where the plan has none.",
        ),
        sa.PrimaryKeyConstraint("hour", "account", "endpoint", "outcome", name=op.f("request_ledger_pkey")),
        comment="Requests sent, by hour, endpoint and outcome.",
    )
    op.create_index("request_ledger_account_hour", "request_ledger", ["account", "hour"])


def _price_revisions() -> None:
    op.create_table(
        "price_revisions",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer, "sqlite"),
            nullable=False,
            autoincrement=True,
            comment="In the order in which the changes were made.",
        ),
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column(
            "timestamp",
            UtcTimestamp(),
            nullable=False,
            comment="The quote's time at the source, UTC.",
        ),
        sa.Column(
            "price_before",
            sa.Double(),
            nullable=False,
            comment="The price that was replaced, US dollars.",
        ),
        sa.Column("source_before", Name(20), nullable=False, comment="The endpoint that it came from."),
        sa.Column("ingested_before", UtcTimestamp(), nullable=False, comment="When it had been stored, UTC."),
        sa.Column(
            "price_after",
            sa.Double(),
            nullable=False,
            comment="The price that took its place, US dollars.",
        ),
        sa.Column("source_after", Name(20), nullable=False, comment="The endpoint that it came from."),
        sa.Column("ingested_after", UtcTimestamp(), nullable=False, comment="When it was stored, UTC."),
        sa.PrimaryKeyConstraint("id", name=op.f("price_revisions_pkey")),
        comment="Prices that changed after the fact; a trigger on raw_prices fills it, whoever writes.",
    )
    op.create_index("price_revisions_symbol_timestamp", "price_revisions", ["symbol", "timestamp"])
    if op.get_bind().dialect.name == "sqlite":
        op.execute(_SQLITE_TRIGGER)
    else:
        op.execute(_POSTGRESQL_FUNCTION)
        op.execute(_POSTGRESQL_TRIGGER)


def _source_gaps() -> None:
    op.create_table(
        "source_gaps",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
        sa.Column(
            "coin_id",
            Name(100),
            nullable=False,
            comment="CoinGecko's id of the coin that was asked for.",
        ),
        sa.Column("gap_start", UtcTimestamp(), nullable=False, comment="First instant without a price, UTC."),
        sa.Column("gap_end", UtcTimestamp(), nullable=False, comment="When prices begin again, UTC."),
        sa.Column(
            "evidence",
            sa.Text(),
            nullable=False,
            comment="The request and what its answer held, in a sentence.",
        ),
        sa.Column("found_at", UtcTimestamp(), nullable=False, comment="When the source was last asked, UTC."),
        sa.PrimaryKeyConstraint("symbol", "coin_id", "gap_start", name=op.f("source_gaps_pkey")),
        comment="Stretches of which the source itself has no prices; they are not asked for again.",
    )


def _coin_identities() -> None:
    op.create_table(
        "coin_identities",
        sa.Column("symbol", Name(20), nullable=False, comment="Upper-case symbol as configured, e.g. BTC."),
        sa.Column(
            "coin_id",
            Name(100),
            nullable=False,
            comment="CoinGecko's id as configured, e.g. bitcoin.",
        ),
        sa.Column(
            "listed",
            sa.Boolean(),
            nullable=False,
            comment="Whether /coins/list holds the id among active coins.",
        ),
        sa.Column("listed_symbol", sa.Text(), comment="The symbol that CoinGecko gives the id."),
        sa.Column("listed_name", sa.Text(), comment="The name that CoinGecko gives the id."),
        sa.Column("problem", sa.Text(), comment="What is wrong with it, in a sentence; empty if nothing is."),
        sa.Column("likely_id", sa.Text(), comment="The id that probably took its place."),
        sa.Column("checked_at", UtcTimestamp(), nullable=False, comment="When /coins/list was asked, UTC."),
        sa.PrimaryKeyConstraint("symbol", "coin_id", name=op.f("coin_identities_pkey")),
        comment="The configured coins as CoinGecko lists them.",
    )
