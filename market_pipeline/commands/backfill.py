"""Bring past days up to date: print what that takes, ask, collect run by run, and score what changed.

What is missing is measured from the stored prices, before the plan and again before each run. So a backfill can be
interrupted and started again at any time, and complete days are not requested. Days for which CoinGecko
had no prices are requested again in due time, or at once with `--again`.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import date

import click

from market_pipeline.anomalies import PAST_DAYS
from market_pipeline.budget.status import budget_status
from market_pipeline.coingecko.client import reach_of
from market_pipeline.commands.backfill_plan import Plan, Span, reachable_span
from market_pipeline.commands.dagster_runs import Runs, recorded_runs
from market_pipeline.commands.demo_data import simulated_source
from market_pipeline.commands.progress import RunProgress
from market_pipeline.commands.start import command_settings, confirmed, database_of
from market_pipeline.core.clock import DAY, utc_now
from market_pipeline.core.program import command
from market_pipeline.core.slices import Slice
from market_pipeline.core.symbols import Catalogue
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.home import checked_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.defs.automation.missing_events import record_stored_days
from market_pipeline.defs.automation.partition_events import PartitionEvents
from market_pipeline.defs.automation.stale_scores import outdated_days
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.calibrate import due_calibrations
from market_pipeline.pipeline.missing_days import GappyDay, absences_of, gappy_days, oldest_day
from market_pipeline.pipeline.names import COMPLETE_DAYS, SCORE_DAYS
from market_pipeline.prices.windows import Repair, plan_repairs, plan_scores
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.schema.migrate import migrate

logger = get_logger(__name__)

_SHOWN = 10
_RESUME = "Run the same command again to go on from there."


def execute(first: date, last: date, symbols: str, *, dry_run: bool, again: bool, yes: bool) -> int:
    """Return 0 if all is stored or proven to be absent in the end, 1 if not."""
    settings = command_settings()
    click.echo(f"DAGSTER_HOME is {checked_home(storage_of(settings))}.")
    catalogue = _chosen(settings.catalogue, symbols)
    reach = reach_of(settings.coingecko_plan)
    now = utc_now()
    begin = settings.first_day(now)
    if settings.history_start <= first < begin:
        raise click.UsageError(
            f"{first} is before {begin}, where PARTITION_DAYS={settings.partition_days} begin; set "
            f"PARTITION_DAYS={(now.date() - first).days + 1} or more until the days are filled"
        )
    span = reachable_span(first, last, history_start=settings.history_start, reach=reach, now=now)
    database = database_of(settings)
    # It may be the first command of all.
    migrate(database)
    work = Backfill(settings, database, catalogue, span, lambda: oldest_day(reach, utc_now()), again)
    for note in span.notes:
        click.echo(note)
    if span.first > span.last:
        click.echo("None of these days can be filled now.")
        is_beyond_reach = last < span.first
        return 1 if is_beyond_reach and not dry_run else 0
    missing = work.missing(span.first, span.last)
    plan = Plan(len(missing), work.repairs(missing), budget_status(settings, database))
    for line in plan.lines() if plan.repairs else ():
        click.echo(line)
    if dry_run and not plan.repairs:
        _report(work)
    if dry_run or (plan.repairs and not confirmed(yes)):
        return 0
    return _complete(work, plan)


def _chosen(catalogue: Catalogue, text: str) -> Catalogue:
    """Return the coins of `catalogue` that `text` names, all if it names none."""
    try:
        named = {catalogue.validate_symbol(symbol) for symbol in text.split(",") if symbol.strip()}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
    return Catalogue([coin for coin in catalogue if coin.symbol in named]) if named else catalogue


@dataclass(frozen=True)
class Backfill:
    """What is to be complete: the days of `span` of the coins of `catalogue`.

    `oldest` returns the oldest day that CoinGecko serves in full, None without a limit: it moves on during a long
    backfill. With `again` every gap is requested, whenever it was requested last.
    """

    settings: Settings
    database: Database
    catalogue: Catalogue
    span: Span
    oldest: Callable[[], date | None]
    again: bool

    def missing(self, first: date, last: date, symbols: Sequence[str] = ()) -> list[tuple[date, str]]:
        """Return the days of `first`..`last` to request, of `symbols` or of all coins of the backfill."""
        gaps = self.gaps(first, last, symbols)
        return [(one.day, one.symbol) for one in gaps if one.due or self.again]

    def gaps(self, first: date, last: date, symbols: Sequence[str] = ()) -> list[GappyDay]:
        """Return the days of `first`..`last` within reach that have gaps, as they are stored now."""
        coins = [coin for coin in self.catalogue if coin.symbol in symbols] if symbols else [*self.catalogue]
        reachable = max(first, self.oldest() or first)
        return gappy_days(self.database, Catalogue(coins), reachable, last, utc_now())

    def repairs(self, days: list[tuple[date, str]]) -> list[Repair]:
        """Return the runs that fill `days`."""
        return plan_repairs(days, self.settings.catalogue.symbols)

    def alone(self) -> AbstractContextManager[None]:
        """Exclude other backfills of these prices: two that measure at the same time would request the same days."""
        waiting = "Another backfill of these prices is running; waiting for the end of its run"
        return exclusive(self.database, "backfill", lambda: logger.warning(waiting))

    def __str__(self) -> str:
        return f"from {self.span.first} to {self.span.last} of {', '.join(self.catalogue.symbols)}"


def _complete(work: Backfill, plan: Plan) -> int:
    progress = RunProgress(plan.partitions)
    try:
        with simulated_source(), recorded_runs(work.settings, work.database) as runs:
            failure = None
            if plan.repairs:
                click.echo("Starting; the first run takes some seconds to load.")
                with progress:
                    failure = _collect(work, plan, runs, progress)
            failure = failure or _score(work, runs)
    except KeyboardInterrupt:
        click.echo(f"Interrupted. The runs that ended stored {progress}. {_RESUME}")
        raise
    if plan.repairs:
        click.echo(f"Stored {progress}.")
    if failure:
        click.echo(f"Stopped: {failure.rstrip('.')}. {_RESUME}")
        return 1
    code = _report(work)
    if plan.repairs and code == 0:
        if uncalibrated := _uncalibrated(work):
            click.echo(uncalibrated)
        span, symbol = work.span, work.catalogue.symbols[0]
        chart = command(f"chart {symbol} --from {span.first} --to {span.last} --out {symbol}.png")
        click.echo(f"Look at it with `{chart}`; take it away with `{command('export --out prices')}`.")
    return code


def _uncalibrated(work: Backfill) -> str:
    """Say what the anomalies rest on where no calibration was ever made; nothing if one was.

    None is made here: that of a past week is final, so it waits for all prices before it.
    """
    now, settings = utc_now(), work.settings
    if not due_calibrations(work.database, settings.catalogue.symbols, now, missing=True).none_known:
        return ""
    return (
        "The detectors are not calibrated yet, so anomalies are judged by other years and coins. "
        f"`{command('run')}` fills the days since {settings.first_day(now)}, then calibrates and scores them again."
    )


def _collect(work: Backfill, plan: Plan, runs: Runs, progress: RunProgress) -> str | None:
    """Execute the runs of the plan; return why one failed, or None."""
    for number, planned in enumerate(plan.repairs, 1):
        rows = requests = 0
        with work.alone():
            runs.wait_for_others(COMPLETE_DAYS)
            # A schedule, the sensor or another backfill may have stored some of it since the plan was made.
            repairs = work.repairs(work.missing(planned.first, planned.last, planned.symbols))
            if repairs:
                progress.begins(str(planned), planned.partitions, sum(repair.requests for repair in repairs))
            for repair in repairs:
                end = runs.execute(COMPLETE_DAYS, repair)
                if not end.success:
                    return f"the run {end.run_id[:8]} of {repair} failed: {end.reason}"
                rows, requests = rows + end.rows, requests + end.requests
        by_others = "" if repairs else " (stored meanwhile by others)"
        what = f"Run {number} of {len(plan.repairs)}, {planned}{by_others}"
        progress.finished(what, planned.partitions, rows, requests)
    return None


def _score(work: Backfill, runs: Runs) -> str | None:
    """Compute anomalies again where their input changed; return why that failed, or None.

    All coins are included: each is a part of the market of the others.
    """
    now, symbols = utc_now(), work.settings.catalogue.symbols
    # The morning after a day belongs to it.
    first = max(work.span.first - DAY, work.settings.first_day(now))
    last = min(work.span.last + PAST_DAYS * DAY, now.date() - DAY)
    days = [(day, symbol) for symbol in symbols for day in Slice("", first, last).days]
    with work.alone():
        events = PartitionEvents(runs.instance)
        record_stored_days(events, work.database, days)
        for part in plan_scores(outdated_days(events, work.database, days, symbols, now), symbols):
            end = runs.execute(SCORE_DAYS, part)
            if not end.success:
                return f"the anomalies of {part} could not be computed: {end.reason}"
    return None


def _report(work: Backfill) -> int:
    """Print what is stored and what is not; return 1 if anything is missing that is not proven to be absent."""
    gaps = work.gaps(work.span.first, work.span.last)
    if not gaps:
        click.echo(f"Everything {work} is stored.")
        return 0
    unexplained = Counter(one.symbol for one in gaps if not one.explained)
    if unexplained:
        lacking = ", ".join(f"{symbol} {counted(days, 'day')}" for symbol, days in unexplained.items())
        click.echo(
            f"CoinGecko answered without all prices of {lacking}; see `{command('doctor')}` and the asset "
            "rejected_prices."
        )
    else:
        click.echo(f"Everything {work} that CoinGecko has is stored.")
    if absences := absences_of(gaps):
        click.echo(f"For {counted(len(absences), 'stretch', 'stretches')} CoinGecko had no prices:")
        for absence in absences[:_SHOWN]:
            click.echo(f"  {absence}")
        if len(absences) > _SHOWN:
            click.echo(f"  and {len(absences) - _SHOWN:,} more; source_gaps has them all.")
        click.echo(
            "From these times on, the repair sensor (days of the last 90) or this command requests them again; "
            "--again does so now."
        )
    return 1 if unexplained else 0
