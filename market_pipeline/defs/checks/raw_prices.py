"""The checks of `raw_prices`, in one step that asks the database and loads nothing.

ERROR wakes somebody, WARN is read in the morning. The first two block the anomalies when rows that
must not exist are stored; what was refused before it reached the table only warns.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.checks.results import from_offenders, from_symbols
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import days_of
from market_pipeline.pipeline.names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import integrity
from market_pipeline.storage.queries.latest import newest_quote_times

_SPECS = [
    dg.AssetCheckSpec(
        FUTURE,
        asset=RAW_PRICES,
        blocking=True,
        description="No stored quote lies in the future. Stored ones stop the anomalies; refused ones warn.",
    ),
    dg.AssetCheckSpec(
        NEGATIVE,
        asset=RAW_PRICES,
        blocking=True,
        description="Every stored price is a number above zero. Stored ones that are not stop the anomalies; "
        "refused negative ones warn.",
    ),
    dg.AssetCheckSpec(
        REJECTED,
        asset=RAW_PRICES,
        description="Nothing was refused in this run for any other reason (missing, zero, not a number, outside "
        "the window, no readable time).",
    ),
    dg.AssetCheckSpec(
        QUOTED,
        asset=RAW_PRICES,
        description="Every symbol of the run got a quote in every day of the run.",
    ),
    dg.AssetCheckSpec(
        FRESH,
        asset=RAW_PRICES,
        description="The newest quote of each symbol is not older than the last tick but one.",
    ),
]


def build_checks(symbols: Sequence[str], collect_cron: str) -> dg.AssetChecksDefinition:
    """The checks; what is fresh follows from when prices are collected."""

    @dg.multi_asset_check(name="check_prices", specs=_SPECS, can_subset=True)
    @logged_step
    def check_prices(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        now = utc_now()
        selected = {key.name for key in context.selected_asset_check_keys}
        # A run without partitions (checks executed alone from the UI) looks at today.
        keys = context.partition_keys if context.has_partition_key_range or context.has_partition_key else []
        days = days_of(keys) or [(now.date(), symbol) for symbol in symbols]
        yield from verdicts(
            database, context.run.run_id, days, symbols, now, oldest_fresh(collect_cron, now), selected,
            lambda: _clock_complaint(context.instance),
        )

    return check_prices


def _clock_complaint(instance: dg.DagsterInstance) -> str:
    """What the last collection found wrong with our clock; empty if nothing. One query."""
    from market_pipeline.pipeline.collect import CLOCK_SKEW
    from market_pipeline.prices.clock_skew import complaint

    last = instance.get_latest_materialization_event(dg.AssetKey(RAW_PRICES))
    metadata = last.asset_materialization.metadata if last and last.asset_materialization else {}
    skew = metadata.get(CLOCK_SKEW)
    return complaint(skew.value if isinstance(skew, dg.FloatMetadataValue) else None)


_OF_THEIR_OWN = {Reason.FUTURE_TIMESTAMP: FUTURE, Reason.NEGATIVE_PRICE: NEGATIVE}
_OTHER_REASONS = [reason for reason in Reason if reason not in _OF_THEIR_OWN]


def verdicts(
    store: Database,
    run_id: str,
    days: Sequence[DayOfSymbol],
    symbols: Collection[str],
    now: datetime,
    oldest: datetime,
    selected: Collection[str],
    clock: Callable[[], str],
) -> Iterator[dg.AssetCheckResult]:
    """One result for each `selected` check of `raw_prices`, about the `days` of run `run_id`.

    `symbols` are all that there are. A newest quote from before `oldest` is stale. `clock` says what is wrong with
    this machine's clock: it is asked where something failed, and what it says comes in place of other advice.
    """
    slices = merge_days(days)
    # What blocks the anomalies looks at all that they are about to read.
    window = {day - n * DAY for day, _ in days for n in range(LEAD_DAYS + 1)}
    read = merge_days((day, symbol) for day in window for symbol in symbols)
    questions: dict[str, Callable[[], dg.AssetCheckResult]] = {
        FUTURE: lambda: _future(store, run_id, read, now, clock),
        NEGATIVE: lambda: _negative(store, run_id, read),
        REJECTED: lambda: _rejected(store, run_id, slices, clock),
        QUOTED: lambda: _quoted(store, run_id, days, now, oldest, clock),
        FRESH: lambda: _fresh(
            store, [symbol for day, symbol in days if day == now.date()], now, oldest, clock
        ),
    }
    for name, ask in questions.items():
        if name in selected:
            yield ask()


def _future(
    store: Database, run_id: str, slices: Sequence[Slice], now: datetime, clock: Callable[[], str]
) -> dg.AssetCheckResult:
    stored = integrity.quotes_in_future(store, slices, now)
    return from_offenders(
        FUTURE,
        stored=stored,
        refused=integrity.refusals_of_run(store, run_id, slices, [Reason.FUTURE_TIMESTAMP.value]),
        wrong="dated in the future",
        recovery=(clock() if stored.count else "")
        or "Find what else writes to raw_prices, or whose clock is wrong, delete these rows, "
        "then materialize the partitions again.",
    )


def _negative(store: Database, run_id: str, slices: Sequence[Slice]) -> dg.AssetCheckResult:
    return from_offenders(
        NEGATIVE,
        stored=integrity.quotes_not_positive(store, slices),
        refused=integrity.refusals_of_run(store, run_id, slices, [Reason.NEGATIVE_PRICE.value]),
        wrong="without a price above zero",
        recovery="A table constraint forbids such rows, so it was dropped or another writer replaced the table. "
        "Delete the rows, restore the constraint, then materialize the partitions again.",
    )


def _rejected(
    store: Database, run_id: str, slices: Sequence[Slice], clock: Callable[[], str]
) -> dg.AssetCheckResult:
    refused = integrity.refusals_of_run(store, run_id, slices, [reason.value for reason in _OTHER_REASONS])
    recovery = clock() if refused.count else ""
    return from_offenders(REJECTED, stored=None, refused=refused, wrong="refused", recovery=recovery)


def _quoted(
    store: Database,
    run_id: str,
    days: Sequence[DayOfSymbol],
    now: datetime,
    oldest: datetime,
    clock: Callable[[], str],
) -> dg.AssetCheckResult:
    missing = integrity.symbols_without_quote(store, merge_days(days), now - oldest, now)
    unquoted = integrity.refused_live_symbols(store, run_id, merge_days(days), Source.LIVE.value)
    problems = {
        symbol: f"no quote stored for {_few([day.isoformat() for day in gone])}"
        for symbol, gone in missing.items()
    }
    problems.update({symbol: f"its answer was refused: {detail}" for symbol, detail in unquoted.items()})
    return from_symbols(
        QUOTED,
        problems,
        severity=dg.AssetCheckSeverity.ERROR,
        good="every symbol has quotes in every day of the run",
        recovery=(clock() if problems else "")
        or "Look at rejected_prices for the answer, and compare the coin's id in MARKET_SYMBOLS with "
        "CoinGecko's list: renamed coins answer nothing. Then materialize the partitions again.",
    )


def _fresh(
    store: Database, symbols: Sequence[str], now: datetime, oldest: datetime, clock: Callable[[], str]
) -> dg.AssetCheckResult:
    newest = newest_quote_times(store, symbols, now)
    problems = {}
    for symbol, moment in newest.items():
        if moment is None:
            problems[symbol] = "no quote stored at all"
        elif moment < oldest:
            problems[symbol] = (
                f"newest quote is {_minutes(now - moment)} old, more than {_minutes(now - oldest)}"
            )
    return from_symbols(
        FRESH,
        problems,
        severity=dg.AssetCheckSeverity.WARN,
        good=(
            f"the newest quote of each symbol is younger than {_minutes(now - oldest)}"
            if symbols
            else "not asked: the run is about past days only"
        ),
        recovery=(clock() if problems else "")
        or "See that tick_schedule is running and its last run succeeded. If it did, CoinGecko serves a stale "
        "price for these coins: look at them on its site.",
        ages={
            symbol: (now - moment).total_seconds() for symbol, moment in newest.items() if moment is not None
        },
    )


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"


def _few(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:5])
    return shown if len(texts) <= 5 else f"{shown} and {len(texts) - 5} more days"
