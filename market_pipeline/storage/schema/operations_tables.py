"""The tables of operations: request budgets and ledger, revisions, absences, coin ids, progress of scoring.

As in `tables`, a column's comment is its one description.
"""

from sqlalchemy import JSON, BigInteger, Boolean, Column, Date, Double, Index, Integer, Table, Text, false, text

from market_pipeline.core.symbols import UNKNOWN_COIN
from market_pipeline.storage.schema.tables import metadata
from market_pipeline.storage.schema.types import Name, UtcTimestamp

# SQLite numbers rows by itself in a column of the type INTEGER only.
NUMBER = BigInteger().with_variant(Integer, "sqlite")

request_budgets = Table(
    "request_budgets",
    metadata,
    Column("account", Name(200), primary_key=True, comment="Account of the limit: plan, host, digest of the key."),
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
        comment="The queue, in order: [ticket, time of its owner's next look, its earliest turn], times as in "
        "granted.",
    ),
    Column("cool_down_until", UtcTimestamp, comment="No request is granted before this time, UTC."),
    Column("cool_down_reason", Text, comment="Reason for the cool-down."),
    Column("month", Date, nullable=False, comment="First day of the UTC month that credits_used counts."),
    Column("credits_used", BigInteger, nullable=False, comment="Credits of that month spent so far."),
    Column("told_per_minute", Integer, comment="Requests a minute as reported by /key; empty if unknown."),
    Column("told_monthly", BigInteger, comment="Credits a month as reported by /key; empty if unknown."),
    Column("told_at", UtcTimestamp, comment="Time of that report, UTC."),
    Column("ids_per_request", Integer, comment="Most coins of a price request; empty if no length was refused."),
    Column("ids_per_request_until", UtcTimestamp, comment="When a longer request is tried again, UTC."),
    comment="The state of each request budget, shared by every process.",
)

client_requests = Table(
    "client_requests",
    metadata,
    Column("id", NUMBER, primary_key=True, autoincrement=True, comment="In the order of admission."),
    Column("client", Name(200), nullable=False, comment="Address of the client."),
    Column("admitted_at", UtcTimestamp, nullable=False, comment="When the request was admitted, UTC."),
    Index("client_requests_client_admitted_at", "client", "admitted_at"),
    Index("client_requests_admitted_at", "admitted_at"),
    comment="Requests for new prices that the API admitted in the last minute.",
)

request_ledger = Table(
    "request_ledger",
    metadata,
    Column("hour", UtcTimestamp, primary_key=True, comment="UTC hour in which the requests were granted."),
    Column("account", Name(200), primary_key=True, comment="Account of the limit that they count against."),
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
    Column("id", NUMBER, primary_key=True, autoincrement=True, comment="In the order in which the changes were made."),
    Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
    Column(
        "coin_id", Name(100), nullable=False, server_default=UNKNOWN_COIN,
        comment="CoinGecko's id of the coin, e.g. bitcoin.",
    ),
    Column("timestamp", UtcTimestamp, nullable=False, comment="The quote's time at the source, UTC."),
    Column("price_before", Double, nullable=False, comment="The price that was replaced, US dollars."),
    Column("source_before", Name(20), nullable=False, comment="The endpoint that it came from."),
    Column("ingested_before", UtcTimestamp, nullable=False, comment="When it had been stored, UTC."),
    Column("price_after", Double, nullable=False, comment="The price that took its place, US dollars."),
    Column("source_after", Name(20), nullable=False, comment="The endpoint that it came from."),
    Column("ingested_after", UtcTimestamp, nullable=False, comment="When it was stored, UTC."),
    Index("price_revisions_symbol_timestamp", "symbol", "timestamp"),
    comment="Prices that changed after the fact; filled by a trigger on raw_prices.",
)

source_gaps = Table(
    "source_gaps",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("gap_start", UtcTimestamp, primary_key=True, comment="First instant without a price, UTC."),
    Column("gap_end", UtcTimestamp, nullable=False, comment="When prices begin again, UTC."),
    Column("evidence", Text, nullable=False, comment="The request and what its answer held, in a sentence."),
    Column("found_at", UtcTimestamp, nullable=False, comment="Time of the last request for it, UTC."),
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
        comment="Number of due requests that returned no prices.",
    ),
    Column(
        "first_found_at", UtcTimestamp, comment="Time of the first request that returned none, UTC; empty: found_at."
    ),
    Column("ask_again_at", UtcTimestamp, comment="When the next request is due, UTC; empty: at once."),
    comment="Stretches for which the source gave no prices, and when the next request is due.",
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
    Column("likely_id", Text, comment="The id that probably replaced it."),
    Column("checked_at", UtcTimestamp, nullable=False, comment="Time of the request to /coins/list, UTC."),
    comment="The configured coins as CoinGecko lists them.",
    info={
        "decides_change": ["listed", "listed_symbol", "listed_name", "problem", "likely_id", "checked_at"],
    },
)

scored_through = Table(
    "scored_through",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("timestamp", UtcTimestamp, nullable=False, comment="Time of the newest scored quote, UTC."),
    Column("scored_at", UtcTimestamp, nullable=False, comment="When that quote was first scored, UTC."),
    comment="The newest scored quote of each symbol, flagged or not.",
    # Scoring an earlier day again does not move it back.
    info={"decides_change": ["timestamp"], "changes_if": "<"},
)
