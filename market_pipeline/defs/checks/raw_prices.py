"""The checks of `raw_prices`, in one step that queries the database and loads no prices.

ERROR needs action at once, WARN can wait until morning. The first two block the anomalies if impossible rows are
stored; points that were refused before they reached the table only warn.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

import dagster as dg

from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.slices import DayOfSymbol, Slice, merge_days
from market_pipeline.core.wording import some
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import SHOWN_SYMBOLS
from market_pipeline.defs.checks.results import from_offenders, from_symbols
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import checked_days
from market_pipeline.pipeline.collect import CLOCK_SKEW
from market_pipeline.pipeline.names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.prices.clock_skew import complaint
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.prices.quotes import Reason, Source
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries import integrity
from market_pipeline.storage.queries.latest import newest_quote_times

_BLOCKING = {FUTURE, NEGATIVE}
_DESCRIPTIONS = {
    FUTURE: "No stored quote is dated in the future: one that is stops the run before its anomalies. Warns if the run "
    "refused one.",
    NEGATIVE: "Every stored price is a number above zero: one that is not stops the run before its anomalies. Warns if "
    "the run refused a negative one.",
    REJECTED: "Nothing was refused in this run for any other reason (missing, zero, not a number, outside the window, "
    "no readable time).",
    QUOTED: "Every symbol of the run has a quote on every day of the run.",
    FRESH: "The newest quote of each symbol is not older than the last tick but one.",
}
_REASONS = {
    FUTURE: [Reason.FUTURE_TIMESTAMP.value],
    NEGATIVE: [Reason.NEGATIVE_PRICE.value],
    REJECTED: [
        reason.value for reason in Reason if reason not in (Reason.FUTURE_TIMESTAMP, Reason.NEGATIVE_PRICE)
    ],
}


def build_price_checks(symbols: Sequence[str], collect_cron: str) -> dg.AssetChecksDefinition:
    """Define the checks; `collect_cron` decides which quote is fresh."""
    specs = [
        dg.AssetCheckSpec(name, asset=RAW_PRICES, blocking=name in _BLOCKING, description=description)
        for name, description in _DESCRIPTIONS.items()
    ]

    @dg.multi_asset_check(name="check_prices", specs=specs, can_subset=True)
    @logged_step
    def check_prices(
        context: dg.AssetCheckExecutionContext, database: dg.ResourceParam[Database]
    ) -> Iterator[dg.AssetCheckResult]:
        now = utc_now()
        days = checked_days(context) or [(now.date(), symbol) for symbol in symbols]
        run = CheckedRun(
            database, context.run.run_id, days, symbols, now, oldest_fresh(collect_cron, now),
            lambda: _clock_complaint(context.instance),
        )
        yield from check_run(run, {key.name for key in context.selected_asset_check_keys})

    return check_prices


def _clock_complaint(instance: dg.DagsterInstance) -> str:
    """Return what the last collection found wrong with this machine's clock; empty if nothing. One query."""
    last = instance.get_latest_materialization_event(dg.AssetKey(RAW_PRICES))
    metadata = last.asset_materialization.metadata if last and last.asset_materialization else {}
    skew = metadata.get(CLOCK_SKEW)
    return complaint(skew.value if isinstance(skew, dg.FloatMetadataValue) else None)


@dataclass(frozen=True)
class CheckedRun:
    """The run `run_id` over `days`, checked at `now`; `symbols` are all that exist.

    A newest quote from before `oldest` is stale. `clock_complaint` is called where a check fails; a wrong clock
    explains the failure, so that its remedy replaces the usual one.
    """

    database: Database
    run_id: str
    days: Sequence[DayOfSymbol]
    symbols: Collection[str]
    now: datetime
    oldest: datetime
    clock_complaint: Callable[[], str]

    @cached_property
    def slices(self) -> list[Slice]:
        """The days of the run, by symbol."""
        return merge_days(self.days)

    @cached_property
    def slices_to_score(self) -> list[Slice]:
        """All that the anomalies are about to read: the days around those of the run, of all symbols."""
        window = {day - n * DAY for day, _ in self.days for n in range(-1, PAST_DAYS + 1)}
        return merge_days((day, symbol) for day in window for symbol in self.symbols)

    def refused(self, check: str) -> integrity.Offenders:
        """Return what this run refused for the reasons that `check` covers."""
        return integrity.refusals_of_run(self.database, self.run_id, self.slices, _REASONS[check])

    def remedy(self, failed: bool, usual: str) -> str:
        """Return the remedy of a check."""
        return (self.clock_complaint() if failed else "") or usual


def check_run(run: CheckedRun, selected: Collection[str]) -> Iterator[dg.AssetCheckResult]:
    """Yield the result of each `selected` check."""
    checks = {
        FUTURE: _no_future_timestamps,
        NEGATIVE: _no_negative_prices,
        REJECTED: _no_rejected_quotes,
        QUOTED: _every_symbol_quoted,
        FRESH: _quotes_are_fresh,
    }
    for name, check in checks.items():
        if name in selected:
            yield check(run)


def _no_future_timestamps(run: CheckedRun) -> dg.AssetCheckResult:
    stored = integrity.quotes_in_future(run.database, run.slices_to_score, run.now)
    remedy = (
        "Find what else writes to raw_prices, or whose clock is wrong, delete these rows, then materialize the "
        "partitions again."
    )
    return from_offenders(
        FUTURE, stored=stored, refused=run.refused(FUTURE), wrong="dated in the future",
        remedy=run.remedy(stored.count > 0, remedy),
    )


def _no_negative_prices(run: CheckedRun) -> dg.AssetCheckResult:
    return from_offenders(
        NEGATIVE,
        stored=integrity.quotes_not_positive(run.database, run.slices_to_score),
        refused=run.refused(NEGATIVE),
        wrong="without a price above zero",
        remedy="A table constraint forbids such rows, so it was dropped or another writer replaced the table. "
        "Delete the rows, restore the constraint, then materialize the partitions again.",
    )


def _no_rejected_quotes(run: CheckedRun) -> dg.AssetCheckResult:
    refused = run.refused(REJECTED)
    remedy = run.remedy(refused.count > 0, "")
    return from_offenders(REJECTED, stored=None, refused=refused, wrong="refused", remedy=remedy)


def _every_symbol_quoted(run: CheckedRun) -> dg.AssetCheckResult:
    missing = integrity.symbols_without_quote(run.database, run.slices, run.now - run.oldest, run.now)
    refused = integrity.refused_live_symbols(run.database, run.run_id, run.slices, Source.LIVE.value)
    problems = {symbol: f"no quote stored for {some(map(str, days))}" for symbol, days in missing.items()}
    problems |= {symbol: f"live price refused: {detail}" for symbol, (_, detail) in refused.items()}
    return from_symbols(
        QUOTED,
        problems,
        severity=dg.AssetCheckSeverity.ERROR,
        good="Every symbol has quotes on every day of the run",
        remedy=run.remedy(
            bool(problems),
            _remedy_of_missing(bool(missing.keys() - refused.keys()), {reason for reason, _ in refused.values()}),
        ),
    )


def _remedy_of_missing(days: bool, reasons: Collection[str]) -> str:
    """Return what to do if whole `days` have no quote, or live prices were refused for `reasons`."""
    absent = days or Reason.MISSING_PRICE.value in reasons
    return " ".join(filter(None, (
        "The next tick asks again; rejected_prices has what was refused." if reasons else "",
        "Materialize the partitions again." if days else "",
        "A coin that stays without a price may have been renamed: compare its id in MARKET_SYMBOLS with CoinGecko's "
        "list." if absent else "",
    )))


def _quotes_are_fresh(run: CheckedRun) -> dg.AssetCheckResult:
    symbols = [symbol for day, symbol in run.days if day == run.now.date()]
    newest = newest_quote_times(run.database, symbols, run.now)
    limit = _minutes(run.now - run.oldest)
    problems = {
        symbol: f"newest quote is {_minutes(run.now - moment)} old, more than {limit}" if moment else "no quote stored"
        for symbol, moment in newest.items()
        if moment is None or moment < run.oldest
    }
    shown = list(newest.items())[:SHOWN_SYMBOLS]
    ages = {f"age_seconds_{symbol}": (run.now - at).total_seconds() for symbol, at in shown if at is not None}
    return from_symbols(
        FRESH,
        problems,
        severity=dg.AssetCheckSeverity.WARN,
        good=f"The newest quote of each symbol is younger than {limit}" if symbols
        else "Not checked: the run is about past days only",
        remedy=run.remedy(
            bool(problems),
            "Check that tick_schedule is running and that its last run succeeded. If so, CoinGecko serves a stale "
            "price for these coins: look at them on its site.",
        ),
        more=ages,
    )


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
