"""What the repair sensor starts next, and why it starts nothing. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import dagster as dg

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.names import COMPLETE_DAYS, SCORE_DAYS
from market_pipeline.prices.windows import Repair, plan_repairs

# What made a run fail is seldom over in a minute.
AFTER_FAILURE = timedelta(hours=1)
# A run that changed nothing is not repeated at once; what its answers lacked is asked for in its own time.
AFTER_SUCCESS = timedelta(hours=3)


@dataclass(frozen=True)
class PastRun:
    """A run that has ended: at `ended` (aware UTC), over the partitions `start`..`end`."""

    run_id: str
    job: str
    start: str
    end: str
    success: bool
    ended: datetime

    @classmethod
    def of(cls, run: dg.DagsterRun, ended: datetime) -> "PastRun":
        """`run` as far as it matters here."""
        start, end = run.tags.get(RANGE_START, ""), run.tags.get(RANGE_END, "")
        return cls(run.run_id, run.job_name, start, end, run.is_success, ended)

    @property
    def again_at(self) -> datetime:
        """When the same may be tried again."""
        return self.ended + (AFTER_SUCCESS if self.success else AFTER_FAILURE)


@dataclass(frozen=True)
class Situation:
    """Everything that the decision depends on.

    `missing` are the days of symbols for which prices are to be asked now, `outdated` those whose anomalies were
    computed before the prices came, `past` the runs that ended lately, newest first.
    """

    now: datetime
    missing: Sequence[tuple[date, str]]
    outdated: Sequence[tuple[date, str]]
    past: Sequence[PastRun]
    budget: BudgetStatus


def without_outage(past: Sequence[PastRun], ticks: Sequence[PastRun]) -> list[PastRun]:
    """`past` without the failed runs that an outage explains, so that they are tried again as soon as it is over.

    An outage is over with the first tick that succeeds after the run, if the tick before that one failed or there was
    none. Both are the newest first.
    """
    return [run for run in past if run.success or not _outage_is_over(run.ended, ticks)]


def _outage_is_over(failed_at: datetime, ticks: Sequence[PastRun]) -> bool:
    good = [place for place, tick in enumerate(ticks) if tick.success and tick.ended > failed_at]
    if not good:
        return False
    earlier = ticks[good[-1] + 1 :]
    return not earlier or not earlier[0].success


def next_run(situation: Situation, symbols: Sequence[str]) -> dg.RunRequest | dg.SkipReason:
    """The run to start now, of all coins' `symbols` in configured order, or a reason for a person."""
    repair = _next_repair(situation, symbols)
    if isinstance(repair, Repair):
        return _request(COMPLETE_DAYS, repair)
    scores = _not_lately(SCORE_DAYS, plan_repairs(situation.outdated, symbols), situation)
    return _request(SCORE_DAYS, scores[0]) if scores else dg.SkipReason(repair)


def _next_repair(situation: Situation, symbols: Sequence[str]) -> Repair | str:
    repairs = plan_repairs(situation.missing, symbols)
    if not repairs:
        return "Nothing is missing; the anomalies of some days could not be computed again just now."
    lack = f"{len(situation.missing):,} partitions lack prices"
    newest = next((run for run in situation.past if run.job == COMPLETE_DAYS), None)
    if newest and not newest.success and newest.again_at > situation.now:
        return (
            f"{lack}, but run {newest.run_id[:8]} of {COMPLETE_DAYS} ended without success at "
            f"{newest.ended:%H:%M} UTC; its page tells why. The next try is at {newest.again_at:%H:%M} UTC, "
            "or as soon as an outage has ended."
        )
    open_repairs = _not_lately(COMPLETE_DAYS, repairs, situation)
    if not open_repairs:
        return (
            f"{lack}, the newest being {repairs[0]}. CoinGecko was asked for them and answered without; it "
            f"is asked again at {_again_at(repairs, situation):%H:%M} UTC. rejected_prices and the checks may "
            "tell why."
        )
    return _affordable(open_repairs[0], situation.budget, lack)


def _not_lately(job: str, repairs: Sequence[Repair], situation: Situation) -> list[Repair]:
    """Those that no run of `job` has tried too shortly before."""
    tried = {
        (run.start, run.end) for run in situation.past if run.job == job and run.again_at > situation.now
    }
    return [repair for repair in repairs if _range(repair) not in tried]


def _again_at(repairs: Sequence[Repair], situation: Situation) -> datetime:
    ranges = {_range(repair) for repair in repairs}
    return min(
        run.again_at
        for run in situation.past
        if (run.start, run.end) in ranges and run.again_at > situation.now
    )


def _affordable(repair: Repair, budget: BudgetStatus, lack: str) -> Repair | str:
    """As much of `repair` as the month's credits allow beside the live prices."""
    if budget.credits_left is None or budget.monthly_credits is None:
        return repair
    free = budget.credits_left - budget.reserve
    if free < 1:
        return (
            f"{lack}, but no credits are left for history: {budget.credits_left:,} of the month's "
            f"{budget.monthly_credits:,} remain and {budget.reserve:,} are kept for live prices. They renew "
            f"on {budget.renews_at:%Y-%m-%d} 00:00 UTC."
        )
    return replace(repair, symbols=repair.symbols[:free])


def _request(job: str, part: Repair) -> dg.RunRequest:
    return dg.RunRequest(job_name=job, tags=range_tags(part.first, part.last, part.symbols))


def _range(part: Repair) -> tuple[str, str]:
    tags = range_tags(part.first, part.last, part.symbols)
    return tags[RANGE_START], tags[RANGE_END]
