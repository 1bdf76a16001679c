"""The checks of `raw_prices`, in one step that asks the database and loads nothing.

ERROR wakes somebody, WARN is read in the morning. The first two block the anomalies when rows that
must not exist are stored; what was refused before it reached the table only warns.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import dagster as dg

from market_pipeline.clock import Clock, utc_now
from market_pipeline.defs.check_results import from_offenders, from_symbols
from market_pipeline.defs.partitions import days_of
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.logs import traced
from market_pipeline.prices.coverage import DayOfSymbol
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.prices.validate import FUTURE_TOLERANCE
from market_pipeline.slices import Slice, merge_days
from market_pipeline.storage import audit
from market_pipeline.storage.engine import Database

FUTURE = "no_future_timestamps"
NEGATIVE = "no_negative_prices"
REJECTED = "no_rejected_quotes"
QUOTED = "every_symbol_quoted"
FRESH = "quotes_are_fresh"

_OF_THEIR_OWN = {Reason.FUTURE_TIMESTAMP: FUTURE, Reason.NEGATIVE_PRICE: NEGATIVE}
_OTHER_REASONS = [reason for reason in Reason if reason not in _OF_THEIR_OWN]

# CoinGecko serves prices up to 60 s old from its cache and a run takes some seconds to start.
_SLACK = timedelta(minutes=3)

_SPECS = [
    dg.AssetCheckSpec(
        FUTURE, asset=RAW_PRICES, blocking=True,
        description="No stored quote lies in the future. Stored ones stop the anomalies; refused ones warn.",
    ),
    dg.AssetCheckSpec(
        NEGATIVE, asset=RAW_PRICES, blocking=True,
        description="Every stored price is a number above zero. Stored ones that are not stop the anomalies; "
        "refused negative ones warn.",
    ),
    dg.AssetCheckSpec(
        REJECTED, asset=RAW_PRICES,
        description="Nothing was refused in this run for any other reason (missing, zero, not a number, outside "
        "the window, no readable time).",
    ),
    dg.AssetCheckSpec(
        QUOTED, asset=RAW_PRICES,
        description="Every symbol of the run got a quote in every day of the run.",
    ),
    dg.AssetCheckSpec(
        FRESH, asset=RAW_PRICES,
        description="The newest quote of each symbol is not older than two collection intervals.",
    ),
]


def build_checks(symbols: Sequence[str], interval: timedelta, clock: Clock = utc_now) -> dg.AssetChecksDefinition:
    """The checks; quotes are stale after two collection `interval`s and some slack."""
    limit = 2 * interval + _SLACK

    @dg.multi_asset_check(name="check_prices", specs=_SPECS)
    def check_prices(
        context: dg.AssetCheckExecutionContext, database: DatabaseResource
    ) -> Iterator[dg.AssetCheckResult]:
        store = database.database()
        # A run without partitions (checks executed alone from the UI) looks at today.
        keys = context.partition_keys if context.has_partition_key_range or context.has_partition_key else []
        days = days_of(keys) or [(clock().date(), symbol) for symbol in symbols]
        slices = merge_days(days)
        with traced(context.run.run_id):
            yield _future(store, context.run.run_id, slices, clock)
            yield _negative(store, context.run.run_id, slices)
            yield _rejected(store, context.run.run_id, slices)
            yield _quoted(store, context.run.run_id, days, clock, limit)
            yield _fresh(store, sorted({symbol for _, symbol in days}), clock, limit)

    return check_prices


def _future(store: Database, run_id: str, slices: Sequence[Slice], clock: Clock) -> dg.AssetCheckResult:
    return from_offenders(
        FUTURE,
        stored=audit.quotes_in_future(store, slices, clock() + FUTURE_TOLERANCE),
        refused=audit.refusals_of_run(store, run_id, slices, [Reason.FUTURE_TIMESTAMP.value]),
        wrong="dated in the future",
        recovery="Find who writes to raw_prices beside this pipeline, or whose clock is wrong, delete these rows, "
        "then materialize the partitions again.",
    )


def _negative(store: Database, run_id: str, slices: Sequence[Slice]) -> dg.AssetCheckResult:
    return from_offenders(
        NEGATIVE,
        stored=audit.quotes_not_positive(store, slices),
        refused=audit.refusals_of_run(store, run_id, slices, [Reason.NEGATIVE_PRICE.value]),
        wrong="without a price above zero",
        recovery="A table constraint forbids such rows: run `market-pipeline migrate` to see that the schema is "
        "whole, delete the rows, then materialize the partitions again.",
    )


def _rejected(store: Database, run_id: str, slices: Sequence[Slice]) -> dg.AssetCheckResult:
    return from_offenders(
        REJECTED,
        stored=None,
        refused=audit.refusals_of_run(store, run_id, slices, [reason.value for reason in _OTHER_REASONS]),
        wrong="refused",
        recovery="",
    )


def _quoted(
    store: Database, run_id: str, days: Sequence[DayOfSymbol], clock: Clock, grace: timedelta
) -> dg.AssetCheckResult:
    missing = audit.symbols_without_quote(store, merge_days(days), grace, today=clock().date())
    unquoted = audit.symbols_unquoted(store, run_id, merge_days(days), Source.LIVE.value)
    problems = {symbol: f"no quote stored for {_few([day.isoformat() for day in gone])}" for symbol, gone in missing.items()}
    problems.update({symbol: f"its answer was refused: {detail}" for symbol, detail in unquoted.items()})
    return from_symbols(
        QUOTED, problems, severity=dg.AssetCheckSeverity.ERROR,
        good="every symbol has quotes in every day of the run",
        recovery="Look at rejected_prices for the answer, and compare the coin's id in MARKET_SYMBOLS with "
        "CoinGecko's list: renamed coins answer nothing. Then materialize the partitions again.",
    )


def _fresh(store: Database, symbols: Sequence[str], clock: Clock, limit: timedelta) -> dg.AssetCheckResult:
    now = clock()
    newest = audit.newest_quote_times(store, symbols)
    problems = {}
    for symbol, moment in newest.items():
        if moment is None:
            problems[symbol] = "no quote stored at all"
        elif now - moment > limit:
            problems[symbol] = f"newest quote is {_minutes(now - moment)} old, more than {_minutes(limit)}"
    return from_symbols(
        FRESH, problems, severity=dg.AssetCheckSeverity.WARN,
        good=f"the newest quote of each symbol is younger than {_minutes(limit)}",
        recovery="See that tick_schedule is running and its last run succeeded. If it did, CoinGecko serves a stale "
        "price for these coins: look at them on its site.",
        ages={symbol: (now - moment).total_seconds() for symbol, moment in newest.items() if moment is not None},
    )


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"


def _few(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:5])
    return shown if len(texts) <= 5 else f"{shown} and {len(texts) - 5} more days"
