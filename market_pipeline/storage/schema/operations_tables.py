"""The tables beside the prices: what was asked of CoinGecko and what is known about its answers.

As in `tables`, a column's comment is its one description.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, Double, Index, Integer, Table, Text, false, text

from market_pipeline.core.symbols import UNKNOWN_COIN
from market_pipeline.storage.schema.tables import metadata
from market_pipeline.storage.schema.types import Name, UtcTimestamp

request_budgets = Table(
    "request_budgets",
    metadata,
    Column(
        "account",
        Name(200),
        primary_key=True,
        comment="Whose limit it is: plan, host, digest of the key.",
    ),
    Column(
        "granted",
        JSON,
        nullable=False,
        comment="When the requests of the last minute were granted: microseconds since 1970 UTC, "
        "oldest first.",
    ),
    Column(
        "waiting",
        JSON,
        nullable=False,
        comment="Who waits, in order: [ticket, when its owner looks next, its earliest turn], in such "
        "microseconds.",
    ),
    Column("cool_down_until", UtcTimestamp, comment="Nobody may ask before this time, UTC."),
    Column("cool_down_reason", Text, comment="Why nobody may ask until then."),
    Column("month", Date, nullable=False, comment="First day of the UTC month that credits_used counts."),
    Column("credits_used", BigInteger, nullable=False, comment="Credits of that month spent so far."),
    Column("told_per_minute", Integer, comment="Requests a minute, as /key told; empty if it was not asked."),
    Column("told_monthly", BigInteger, comment="Credits a month, as /key told; empty if it was not asked."),
    Column("told_at", UtcTimestamp, comment="When /key told so, UTC."),
    Column(
        "ids_per_request",
        Integer,
        comment="Most coins of a price request; empty if no length was refused.",
    ),
    Column("ids_per_request_until", UtcTimestamp, comment="When a longer one is tried again, UTC."),
    comment="The state of each request budget, shared by every process.",
)

request_ledger = Table(
    "request_ledger",
    metadata,
    Column("hour", UtcTimestamp, primary_key=True, comment="UTC hour in which the requests were granted."),
    Column("account", Name(200), primary_key=True, comment="Whose limit they count against."),
    Column("endpoint", Name(100), primary_key=True, comment="Path with {id} for a coin, e.g. /simple/price."),
    Column(
        "outcome",
        Name(20),
        primary_key=True,
        comment="HTTP status; 'no answer'; 'not sent' if it never left; 'not told' while under way and where the "
        "process died.",
    ),
    Column("plan", Name(10), nullable=False, comment="keyless, demo or pro."),
    Column("requests", BigInteger, nullable=False, comment="Requests sent, retries included."),
    Column("credits", BigInteger, nullable=False, comment="Credits they cost; 0 where the plan has none."),
    Index("request_ledger_account_hour", "account", "hour"),
    comment="Requests sent, by hour, endpoint and outcome.",
)

price_revisions = Table(
    "price_revisions",
    metadata,
    Column(
        "id",
        BigInteger().with_variant(Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
        comment="In the order in which the changes were made.",
    ),
    Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
    Column(
        "coin_id", Name(100), nullable=False, server_default=UNKNOWN_COIN,
        comment="CoinGecko's id of the coin that was asked for, e.g. bitcoin.",
    ),
    Column("timestamp", UtcTimestamp, nullable=False, comment="The quote's time at the source, UTC."),
    Column("price_before", Double, nullable=False, comment="The price that was replaced, US dollars."),
    Column("source_before", Name(20), nullable=False, comment="The endpoint that it came from."),
    Column("ingested_before", UtcTimestamp, nullable=False, comment="When it had been stored, UTC."),
    Column("price_after", Double, nullable=False, comment="The price that took its place, US dollars."),
    Column("source_after", Name(20), nullable=False, comment="The endpoint that it came from."),
    Column("ingested_after", UtcTimestamp, nullable=False, comment="When it was stored, UTC."),
    Index("price_revisions_symbol_timestamp", "symbol", "timestamp"),
    comment="Prices that changed after the fact; a trigger on raw_prices fills it, whoever writes.",
)

source_gaps = Table(
    "source_gaps",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin that was asked for."),
    Column("gap_start", UtcTimestamp, primary_key=True, comment="First instant without a price, UTC."),
    Column("gap_end", UtcTimestamp, nullable=False, comment="When prices begin again, UTC."),
    Column("evidence", Text, nullable=False, comment="The request and what its answer held, in a sentence."),
    Column("found_at", UtcTimestamp, nullable=False, comment="When the source was last asked, UTC."),
    Column(
        "proven",
        Boolean,
        nullable=False,
        server_default=false(),
        comment="Whether the answer covered the time, so that the source itself has no prices there.",
    ),
    Column(
        "times_asked",
        Integer,
        nullable=False,
        server_default=text("0"),
        comment="How often the source was asked in its turn and gave no prices.",
    ),
    Column("first_found_at", UtcTimestamp, comment="When it first gave none, UTC; empty: at found_at."),
    Column("ask_again_at", UtcTimestamp, comment="When it is to be asked again, UTC; empty: at once."),
    comment="Stretches for which the source gave no prices, and when it is asked again.",
    info={"decides_change": ["gap_end"]},
)

coin_identities = Table(
    "coin_identities",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol as configured, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id as configured, e.g. bitcoin."),
    Column("listed", Boolean, nullable=False, comment="Whether /coins/list holds the id among active coins."),
    Column("listed_symbol", Text, comment="The symbol that CoinGecko gives the id."),
    Column("listed_name", Text, comment="The name that CoinGecko gives the id."),
    Column("problem", Text, comment="What is wrong with it, in a sentence; empty if nothing is."),
    Column("likely_id", Text, comment="The id that probably took its place."),
    Column("checked_at", UtcTimestamp, nullable=False, comment="When /coins/list was asked, UTC."),
    comment="The configured coins as CoinGecko lists them.",
    info={"decides_change": ["checked_at"]},
)

scored_through = Table(
    "scored_through",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("timestamp", UtcTimestamp, nullable=False, comment="Time of the newest scored quote, UTC."),
    Column("scored_at", UtcTimestamp, nullable=False, comment="When that quote was first scored, UTC."),
    comment="Up to which quote the detectors have looked at each symbol, flagged or not.",
    # Scoring an earlier day again leaves it where it is.
    info={"decides_change": ["timestamp"], "changes_if": "<"},
)
