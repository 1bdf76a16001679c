"""Doing a backfill: run after run, then the scores that depend on what came."""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date, timedelta
from typing import TYPE_CHECKING

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.commands.backfill_plan import Plan, Span, counted
from market_pipeline.commands.start import say
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.symbols import Catalogue
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.missing_days import GappyDay, absences_of, gappy_days
from market_pipeline.prices.windows import Repair, plan_repairs
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive

if TYPE_CHECKING:
    from market_pipeline.commands.dagster_runs import Runs
    from market_pipeline.commands.progress import RunProgress


logger = get_logger(__name__)

_SHOWN = 10
_ASKS_AGAIN = (
    "the repair sensor (days of the last 90) or this command asks again; --again asks now"
)
_RESUME = "What is stored stays; the same command goes on from there."


@dataclass(frozen=True)
class Backfill:
    """What is to be complete: the days of `span` of the coins of `catalogue`.

    `oldest` tells the oldest day that CoinGecko still shows in full, None if there is no limit: it
    moves on while a long backfill is at work. With `again` CoinGecko is asked for every gap, whenever it was
    asked last.
    """

    settings: Settings
    database: Database
    catalogue: Catalogue
    span: Span
    oldest: Callable[[], date | None]
    again: bool = False

    def missing(self, first: date, last: date, symbols: Sequence[str] = ()) -> list[tuple[date, str]]:
        """The days of `first`..`last` to ask for, of `symbols` or of all coins of the backfill."""
        gaps = self.gaps(first, last, symbols)
        return [(one.day, one.symbol) for one in gaps if one.due or self.again]

    def gaps(self, first: date, last: date, symbols: Sequence[str] = ()) -> list[GappyDay]:
        """The days of `first`..`last` within reach that have gaps, as they are stored now."""
        coins = [coin for coin in self.catalogue if coin.symbol in symbols] if symbols else [*self.catalogue]
        reachable = max(first, self.oldest() or first)
        return gappy_days(self.database, Catalogue(coins), reachable, last, utc_now())

    def repairs(self, days: list[tuple[date, str]]) -> list[Repair]:
        return plan_repairs(days, self.settings.catalogue.symbols)

    def __str__(self) -> str:
        return f"from {self.span.first} to {self.span.last} of {', '.join(self.catalogue.symbols)}"


def complete(work: Backfill, plan: Plan) -> int:
    """Execute `plan`; 0 if all is stored or proven to be absent afterwards, 1 if not, 130 after Ctrl-C."""
    from market_pipeline.commands.dagster_runs import recorded_runs
    from market_pipeline.commands.progress import RunProgress

    progress = RunProgress(plan.partitions)
    try:
        with recorded_runs(work.settings) as runs:
            failure = None
            if plan.repairs:
                say("Starting; the first run takes some seconds to load.")
                with progress:
                    failure = _collect(work, plan, runs, progress)
            failure = failure or _score(work, runs)
    except KeyboardInterrupt:
        say(f"Interrupted. The runs that ended stored {progress}. {_RESUME}")
        return 130
    if plan.repairs:
        say(f"Stored {progress}.")
    if failure:
        say(f"Stopped: {failure.rstrip('.')}. {_RESUME}")
        return 1
    return report(work)


def _collect(work: Backfill, plan: Plan, runs: "Runs", progress: "RunProgress") -> str | None:
    """Every run of the plan; why one failed, or None."""
    from market_pipeline.pipeline.names import COMPLETE_DAYS

    for number, planned in enumerate(plan.repairs, 1):
        rows = requests = 0
        with _alone(work):
            runs.wait_for_others(COMPLETE_DAYS)
            # Others may have stored some of it since the plan was made: a schedule, the sensor, a backfill.
            repairs = work.repairs(work.missing(planned.first, planned.last, planned.symbols))
            for repair in repairs:
                ended = runs.execute(COMPLETE_DAYS, repair)
                if not ended.success:
                    return f"the run {ended.run_id[:8]} of {repair} failed: {ended.reason}"
                rows, requests = rows + ended.rows, requests + ended.requests
        by_others = "" if repairs else " (stored meanwhile by others)"
        what = f"Run {number} of {len(plan.repairs)}, {planned}{by_others}"
        progress.finished(what, planned.partitions, rows, requests)
    return None


def _alone(work: Backfill) -> AbstractContextManager[None]:
    """Keep other backfills of the same prices out: two that measure at the same time ask for the same days."""
    waiting = "Another backfill of these prices is at work; waiting for the end of its run"
    return exclusive(work.database, "backfill", lambda: logger.warning(waiting))


def _score(work: Backfill, runs: "Runs") -> str | None:
    """Compute anomalies again where what they depend on has changed; why that failed, or None.

    Those of all coins: what came of one is a part of the market of the others.
    """
    from market_pipeline.defs.automation.stale_scores import outdated_days
    from market_pipeline.pipeline.names import SCORE_DAYS

    last = min(work.span.last + timedelta(days=LEAD_DAYS), utc_now().date() - DAY)
    length = (last - work.span.first).days + 1
    symbols = work.settings.catalogue.symbols
    days = [(work.span.first + timedelta(days=n), symbol) for n in range(length) for symbol in symbols]
    with _alone(work):
        for part in work.repairs(outdated_days(runs.instance, days, symbols)):
            ended = runs.execute(SCORE_DAYS, part)
            if not ended.success:
                return f"the anomalies of {part} could not be computed: {ended.reason}"
    return None


def report(work: Backfill) -> int:
    """Say what is stored and what is not; 1 if anything is missing that is not proven to be absent."""
    gaps = work.gaps(work.span.first, work.span.last)
    if not gaps:
        say(f"Everything {work} is stored.")
        return 0
    left = Counter(one.symbol for one in gaps if not one.explained)
    if left:
        lacking = ", ".join(f"{symbol} {counted(days, 'day')}" for symbol, days in left.items())
        say(
            f"CoinGecko answered without all prices of {lacking}; `market-pipeline doctor` and the asset "
            "rejected_prices tell more."
        )
    else:
        say(f"Everything {work} that CoinGecko has is stored.")
    if silent := absences_of(gaps):
        say(f"For {counted(len(silent), 'stretch', 'stretches')} CoinGecko gave no prices when it was asked:")
        for absence in silent[:_SHOWN]:
            say(f"  {absence}")
        if len(silent) > _SHOWN:
            say(f"  and {len(silent) - _SHOWN:,} more; source_gaps holds them all.")
        say(f"When a time named has come, {_ASKS_AGAIN}.")
    return 1 if left else 0
