"""The tables of prices and anomalies.

A column's comment is its one description: the migrations put it into PostgreSQL and the Dagster UI shows
it, so it carries the unit and the time zone. `info["decides_change"]` names the columns in which an
upserted row must differ to be written at all.
"""

from sqlalchemy import CheckConstraint, Column, Date, Double, Index, Integer, MetaData, Table, Text, text

from market_pipeline.core.symbols import UNKNOWN_COIN
from market_pipeline.prices.quotes import LARGEST_PRICE
from market_pipeline.storage.schema.types import Name, UtcTimestamp

metadata = MetaData(
    naming_convention={"ck": "%(table_name)s_%(constraint_name)s", "pk": "%(table_name)s_pkey"}
)

raw_prices = Table(
    "raw_prices",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("timestamp", UtcTimestamp, primary_key=True, comment="When the price was true at the source, UTC."),
    Column("price", Double, nullable=False, comment="Price of one coin in US dollars, above zero."),
    Column("source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."),
    Column("ingested_at", UtcTimestamp, nullable=False, comment="When this price was first stored, UTC."),
    # The upper bound refuses infinity, and NaN, which PostgreSQL sorts above it and SQLite stores as NULL.
    CheckConstraint(f"price > 0 AND price < {LARGEST_PRICE}", name="price_is_positive"),
    CheckConstraint("source IN ('simple_price', 'market_chart')", name="source_is_known"),
    sqlite_with_rowid=False,
    comment="Accepted quotes, one row per symbol, coin and source time.",
    # The same price stored again changes nothing: `ingested_at` stays the first time.
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
    Column(
        "coin_id", Name(100), nullable=False, server_default=UNKNOWN_COIN,
        comment="CoinGecko's id of the coin, e.g. bitcoin.",
    ),
    Column("day", Date, nullable=False, comment="UTC day (partition) the refusal is filed under."),
    Column("reason", Name(30), nullable=False, comment="Why it was refused, e.g. negative_price."),
    Column("detail", Text, nullable=False, comment="One sentence with the offending value."),
    Column("timestamp", UtcTimestamp, comment="The time the point claimed, UTC, where it could be read."),
    Column("payload", Text, nullable=False, comment="The offending part of the answer, as JSON text."),
    Column("source", Name(20), nullable=False, comment="Endpoint it came from: simple_price or market_chart."),
    Column("run_id", Name(64), nullable=False, comment="The run that last saw it."),
    Column("refused_at", UtcTimestamp, nullable=False, comment="When it was last refused, UTC."),
    Index("rejected_prices_symbol_day", "symbol", "day"),
    Index("rejected_prices_refused_at", "refused_at"),
    comment="Quarantine: what was refused, why, and the payload.",
    info={"decides_change": ["run_id", "refused_at"]},
)

price_anomalies = Table(
    "price_anomalies",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column(
        "coin_id", Name(100), nullable=False, server_default=UNKNOWN_COIN,
        comment="CoinGecko's id of the coin, e.g. bitcoin.",
    ),
    Column("timestamp", UtcTimestamp, primary_key=True, comment="Time of the flagged quote, UTC."),
    Column("kind", Name(20), primary_key=True, comment="What was flagged: jump, large_move, ..."),
    Column("id", Name(32), nullable=False, comment="Digest of symbol, timestamp and kind."),
    Column(
        "episode_id", Name(32), nullable=False,
        comment="Id of the first row of the episode: same symbol and kind, at most 60 minutes apart.",
    ),
    Column(
        "event_id", Name(32),
        comment="Id of the row that represents this one: its market_move, its bad tick, or the rarer row of the "
        "same quote. A market_move has its own id here; empty for other alarms.",
    ),
    Column("scope", Name(20), nullable=False, comment="market, idiosyncratic, mixed or unknown."),
    Column(
        "severity", Name(10), nullable=False, comment="watch, alert or critical, by how rare and how large the move is."
    ),
    Column("importance", Double, comment="Orders alarms: the higher, the sooner to be read."),
    Column("direction", Name(4), nullable=False, comment="up, down, or none (a stale feed)."),
    Column("detected_at", UtcTimestamp, nullable=False, comment="Time of the first quote that revealed it, UTC."),
    Column("price_before", Double, nullable=False, comment="Price before the move, US dollars."),
    Column("timestamp_before", UtcTimestamp, nullable=False, comment="Time of the price before the move, UTC."),
    Column("price_after", Double, nullable=False, comment="Price after the move, US dollars."),
    Column("move", Double, nullable=False, comment="Simple return over the move: 0.05 is +5%."),
    Column("elapsed_seconds", Double, nullable=False, comment="Time of the move, seconds."),
    Column(
        "horizon_minutes", Double, nullable=False,
        comment="Horizon over which it was largest, minutes; the elapsed time for moves between two quotes.",
    ),
    Column(
        "expected_move", Double,
        comment="One standard deviation of the return over exactly the elapsed time; empty if unknown.",
    ),
    Column("score", Double, nullable=False, comment="The detector's score, on the scale of its threshold."),
    Column("threshold", Double, nullable=False, comment="The score from which the detector flags."),
    Column("z", Double, comment="The move in standard deviations, signed."),
    Column("p_raw", Double, comment="Two-sided probability of the move by the volatility filter."),
    Column("p_calibrated", Double, comment="The same, by the share of past scores that were as high."),
    Column("expected_every_days", Double, comment="Once in how many days a quote like this is expected, days."),
    Column("volatility_annual", Double, comment="Volatility known before the move, per year: 0.6 is 60%."),
    Column("volatility_percentile", Double, comment="Share of the calibration's days with lower volatility, 0 to 100."),
    Column(
        "hour_factor", Double, nullable=False, comment="Usual volatility of this UTC hour over the day's: 1 is usual."
    ),
    Column("market_z", Double, comment="Median move of the other coins in standard deviations, signed."),
    Column(
        "market_move", Double,
        comment="Median simple return of the coins of the event, or of the other coins over the same time.",
    ),
    Column("beta", Double, comment="Standard deviations that the coin usually moves for one of the market's."),
    Column("residual_z", Double, comment="The move without the market's part, in its own standard deviations."),
    Column("market_share", Double, comment="Share of the move that the market explains, 0 to 1."),
    Column("peers_moved", Integer, comment="How many other coins moved the same way by 2 or more."),
    Column("members", Text, comment="Symbols of a market event, comma separated, the largest mover first."),
    Column("quotes_used", Integer, nullable=False, comment="Changed quotes known before this one."),
    Column("stale_minutes", Double, nullable=False, comment="Minutes since the price last changed."),
    Column(
        "calibration", Name(10), nullable=False,
        comment="What the probability rests on: own, pooled (all coins) or prior; gpd in older rows.",
    ),
    Column("cadence", Name(10), comment="Usual interval of the quotes: 5-minute, hourly or daily."),
    Column("calibration_days", Double, comment="Days of history that the probability rests on."),
    Column(
        "calibration_excesses", Integer, comment="Number of high past scores that the probability rests on."
    ),
    Column("calibrated_at", UtcTimestamp, comment="As-of time of the calibration used, UTC."),
    Column("quality_flags", Text, nullable=False, comment="Comma separated, e.g. warm_up; empty if none."),
    Column("confirmation", Name(10), comment="persisted or reverted, once later quotes decide; empty before."),
    Column("confirmed_at", UtcTimestamp, comment="Time of the quote that decided, UTC."),
    Column("confirmed_price", Double, comment="Price of the quote that decided, US dollars."),
    Column("episode_first", UtcTimestamp, nullable=False, comment="First flagged quote of the episode, UTC."),
    Column("episode_peak", UtcTimestamp, nullable=False, comment="Most unusual quote of the episode, UTC."),
    Column("episode_last", UtcTimestamp, nullable=False, comment="Last flagged quote of the episode, UTC."),
    Column("detector_version", Name(40), nullable=False, comment="Version of the detectors and their parameters."),
    Column(
        "headline", Text, nullable=False, server_default=text("''"),
        comment="What happened, how much and when, in at most 140 characters; empty in older rows.",
    ),
    Column(
        "explanation", Text, nullable=False,
        comment="What was expected, what the other coins did and what that rests on.",
    ),
    CheckConstraint("direction IN ('up', 'down', 'none')", name="direction_is_known"),
    CheckConstraint("severity IN ('watch', 'alert', 'critical')", name="severity_is_known"),
    CheckConstraint("scope IN ('market', 'idiosyncratic', 'mixed', 'unknown')", name="scope_is_known"),
    CheckConstraint("confirmation IN ('persisted', 'reverted')", name="confirmation_is_known"),
    # As for prices, infinity and NaN are refused.
    CheckConstraint(
        f"abs(move) < 1e308 AND abs(score) < 1e308 AND price_after > 0 AND price_after < {LARGEST_PRICE}",
        name="numbers_are_finite",
    ),
    Index("price_anomalies_id", "id", unique=True),
    Index("price_anomalies_event", "event_id"),
    sqlite_with_rowid=False,
    comment="Flagged quotes, one row per symbol, time and kind.",
    info={"decides_change": ["score", "headline", "explanation"]},
)

detector_calibrations = Table(
    "detector_calibrations",
    metadata,
    Column(
        "as_of", UtcTimestamp, primary_key=True,
        comment="Made from quotes before this time only, UTC; scores days from then on.",
    ),
    Column(
        "detector_version", Name(40), primary_key=True, comment="Version of the detectors whose scores it calibrates."
    ),
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column(
        "document", Text, nullable=False,
        comment="The calibration of the coin as JSON, with the hours and the tails of all coins.",
    ),
    Column("calibrated_at", UtcTimestamp, nullable=False, comment="When it was computed, UTC."),
    sqlite_with_rowid=False,
    comment="Calibrations: hour factors and score tails, one row per as-of time and coin; never changed once stored.",
    info={"decides_change": []},
)

daily_peaks = Table(
    "daily_peaks",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("day", Date, primary_key=True, comment="UTC day."),
    Column("detector_version", Name(40), primary_key=True, comment="Version of the detectors that scored the day."),
    Column(
        "cadence", Integer, nullable=False,
        comment="Usual interval: 0 up to 20 minutes, 1 hourly, 2 daily; -1 where the day does not count.",
    ),
    Column(
        "slow_volatility", Double, nullable=False,
        comment="Volatility of the last weeks at the end of the day, log return per square root of a minute.",
    ),
    Column("large_move", Double, nullable=False, comment="Highest score of the coin's large moves."),
    Column("market", Double, nullable=False, comment="Highest score of the market's moves; 0 where unknown."),
    sqlite_with_rowid=False,
    comment="Highest scores of each day: the memory of calibrations.",
    info={"decides_change": ["cadence", "slow_volatility", "large_move", "market"]},
)

daily_bars = Table(
    "daily_bars",
    metadata,
    Column("symbol", Name(20), primary_key=True, comment="Upper-case symbol, e.g. BTC."),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("day", Date, primary_key=True, comment="UTC day, which is over."),
    Column("open", Double, nullable=False, comment="First price of the day, US dollars; bad ticks do not count."),
    Column("high", Double, nullable=False, comment="Highest price of the day, US dollars."),
    Column("low", Double, nullable=False, comment="Lowest price of the day, US dollars."),
    Column("close", Double, nullable=False, comment="Last price of the day, US dollars."),
    Column("quotes", Integer, nullable=False, comment="Number of quotes that the bar is made of."),
    Column(
        "realised_volatility", Double,
        comment="Square root of the sum of squared log returns over at least 5 minutes, scaled to 24 hours: 0.03 is 3% "
        "a day; empty where they cover less than half of the day.",
    ),
    Column("completeness", Double, nullable=False, comment="Share of the day's 24 hours that have a quote, 0 to 1."),
    CheckConstraint("low > 0 AND low <= open AND low <= close AND high >= open AND high >= close", name="is_a_bar"),
    sqlite_with_rowid=False,
    comment="Bars of past UTC days, one row per symbol and day with a quote.",
    info={"decides_change": ["open", "high", "low", "close", "quotes", "realised_volatility", "completeness"]},
)

anomaly_marks = Table(
    "anomaly_marks",
    metadata,
    Column(
        "anomaly_id", Name(32), primary_key=True,
        comment="Id of the anomaly: digest of symbol, timestamp and kind, so that a mark survives rescoring.",
    ),
    Column("coin_id", Name(100), primary_key=True, comment="CoinGecko's id of the coin, e.g. bitcoin."),
    Column("symbol", Name(20), nullable=False, comment="Upper-case symbol, e.g. BTC."),
    Column("timestamp", UtcTimestamp, nullable=False, comment="Time of the flagged quote, UTC."),
    Column("kind", Name(20), nullable=False, comment="What was flagged: jump, large_move, ..."),
    Column("timestamp_before", UtcTimestamp, nullable=False, comment="Time of the price before the move, UTC."),
    Column("price_before", Double, nullable=False, comment="Price before the move when it was marked, US dollars."),
    Column("price_after", Double, nullable=False, comment="Price after the move when it was marked, US dollars."),
    Column("mark", Name(10), nullable=False, comment="real, noise or expected: what a person says of the anomaly."),
    Column("note", Text, comment="The person's note; empty if none."),
    Column("marked_at", UtcTimestamp, nullable=False, comment="When it was marked so, UTC."),
    CheckConstraint("mark IN ('real', 'noise', 'expected')", name="mark_is_known"),
    sqlite_with_rowid=False,
    comment="Marks that people gave to anomalies; the last one counts.",
    # The same mark again changes nothing: `marked_at` stays the first time.
    info={"decides_change": ["mark", "note"]},
)
