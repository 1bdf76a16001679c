"""The verdicts of the checks: what the database is asked, and what counts as a failure.

ERROR wakes somebody, WARN is read in the morning.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from datetime import datetime, timedelta

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.clock import DAY
from market_pipeline.defs.check_names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.defs.check_results import from_offenders, from_symbols
from market_pipeline.prices.coverage import DayOfSymbol
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.slices import Slice, merge_days
from market_pipeline.storage import audit
from market_pipeline.storage.engine import Database

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
    stored = audit.quotes_in_future(store, slices, now)
    return from_offenders(
        FUTURE,
        stored=stored,
        refused=audit.refusals_of_run(store, run_id, slices, [Reason.FUTURE_TIMESTAMP.value]),
        wrong="dated in the future",
        recovery=(clock() if stored.count else "")
        or "Find what else writes to raw_prices, or whose clock is wrong, delete these rows, "
        "then materialize the partitions again.",
    )


def _negative(store: Database, run_id: str, slices: Sequence[Slice]) -> dg.AssetCheckResult:
    return from_offenders(
        NEGATIVE,
        stored=audit.quotes_not_positive(store, slices),
        refused=audit.refusals_of_run(store, run_id, slices, [Reason.NEGATIVE_PRICE.value]),
        wrong="without a price above zero",
        recovery="A table constraint forbids such rows, so it was dropped or another writer replaced the table. "
        "Delete the rows, restore the constraint, then materialize the partitions again.",
    )


def _rejected(
    store: Database, run_id: str, slices: Sequence[Slice], clock: Callable[[], str]
) -> dg.AssetCheckResult:
    refused = audit.refusals_of_run(store, run_id, slices, [reason.value for reason in _OTHER_REASONS])
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
    missing = audit.symbols_without_quote(store, merge_days(days), now - oldest, now)
    unquoted = audit.symbols_unquoted(store, run_id, merge_days(days), Source.LIVE.value)
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
    newest = audit.newest_quote_times(store, symbols, now)
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
