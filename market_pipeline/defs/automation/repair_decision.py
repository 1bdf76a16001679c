"""Which run the repair sensor starts next, or why it starts none. Pure functions.

On a first start: the newest 90 days of all symbols, the first calibration, the older days, the calibrations of the past
weeks, and the scores of the past days. Whatever a person fills from the UI is scored and gets its bars in the same way.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.budget.status import BudgetStatus
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.core.wording import counted
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.price_coverage import PRICE_COVERAGE
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, range_tags
from market_pipeline.pipeline.calibrate import DueCalibrations
from market_pipeline.pipeline.names import CALIBRATE_DETECTORS, COMPLETE_DAYS, SCORE_DAYS
from market_pipeline.prices.gaps import last_settled_day
from market_pipeline.prices.windows import LONGEST_WINDOW_DAYS, Repair, plan_repairs, plan_scores

# Days beyond these are scored in runs of their own, once all prices and calibrations that they depend on are stored.
_SCORED_AT_ONCE = LEAD_DAYS
_UNSCORED = [dg.AssetKey(RAW_PRICES), dg.AssetKey(REJECTED_PRICES), dg.AssetKey(DAILY_BARS)]
# The cause of a failure seldom passes within a minute.
AFTER_FAILURE = timedelta(hours=1)
# A request that changed nothing is not repeated at once; prices that its answers lacked have their own waiting times.
AFTER_SUCCESS = timedelta(hours=3)


@dataclass(frozen=True)
class PastRun:
    """A run that ended at `ended` (aware UTC), over the partitions `start`..`end`."""

    run_id: str
    job: str
    start: str
    end: str
    success: bool
    ended: datetime

    @classmethod
    def of(cls, run: dg.DagsterRun, ended: datetime) -> "PastRun":
        """Return what matters here of `run`."""
        start, end = run.tags.get(RANGE_START, ""), run.tags.get(RANGE_END, "")
        return cls(run.run_id, run.job_name, start, end, run.is_success, ended)

    @property
    def again_at(self) -> datetime:
        """When the same partitions may be tried again."""
        return self.ended + (AFTER_SUCCESS if self.success and self.job == COMPLETE_DAYS else AFTER_FAILURE)


@dataclass(frozen=True)
class Situation:
    """Everything that the decision depends on.

    `missing` are the days of symbols whose prices are to be requested now, `outdated` those whose anomalies have to be
    computed again, `past` the runs that ended in the last hours, newest first, `unbarred` the days to write bars of.
    """

    now: datetime
    missing: Sequence[DayOfSymbol]
    outdated: Sequence[DayOfSymbol]
    calibrations: DueCalibrations
    past: Sequence[PastRun]
    budget: BudgetStatus
    unbarred: Sequence[DayOfSymbol] = ()


def without_outage(past: Sequence[PastRun], ticks: Sequence[PastRun]) -> list[PastRun]:
    """Return `past` without the failures that an outage explains, so that they are retried as soon as it is over.

    An outage is over with the first tick that succeeds after the failure, if the tick before that one failed or
    there was none. Both are newest first.
    """
    return [run for run in past if run.success or not _outage_is_over(run.ended, ticks)]


def _outage_is_over(failed_at: datetime, ticks: Sequence[PastRun]) -> bool:
    good = [place for place, tick in enumerate(ticks) if tick.success and tick.ended > failed_at]
    if not good:
        return False
    earlier = ticks[good[-1] + 1 :]
    return not earlier or not earlier[0].success


def next_run(situation: Situation, symbols: Sequence[str]) -> dg.RunRequest | dg.SkipReason:
    """Return the run to start now, or the reason for none; `symbols` are all, in configured order."""
    repair = _next_repair(situation, symbols)
    if _calibrates_before(repair, situation):
        return dg.RunRequest(job_name=CALIBRATE_DETECTORS)
    if isinstance(repair, Repair):
        return dg.RunRequest(job_name=COMPLETE_DAYS, tags=_tags(repair), asset_selection=_assets(repair, situation))
    scores = _not_lately(SCORE_DAYS, plan_scores(situation.outdated, symbols), situation)
    if scores:
        # With their bars.
        return dg.RunRequest(job_name=SCORE_DAYS, tags=_tags(scores[0]))
    if bars := _not_lately(SCORE_DAYS, plan_scores(situation.unbarred, symbols), situation):
        only_bars = [dg.AssetKey(DAILY_BARS)]
        return dg.RunRequest(job_name=SCORE_DAYS, tags=_tags(bars[0]), asset_selection=only_bars)
    return dg.SkipReason(repair)


def _calibrates_before(repair: Repair | str, situation: Situation) -> bool:
    """Return whether to calibrate before `repair`.

    The first time as soon as the newest days are there, then when all are. A failure is not repeated at once.
    """
    newest = next((run for run in situation.past if run.job == CALIBRATE_DETECTORS), None)
    if not situation.calibrations.at_once or (newest and not newest.success and newest.again_at > situation.now):
        return False
    if not isinstance(repair, Repair):
        return True
    newest_days = last_settled_day(situation.now) - timedelta(days=LONGEST_WINDOW_DAYS - 1)
    return situation.calibrations.none_known and repair.last < newest_days


def _next_repair(situation: Situation, symbols: Sequence[str]) -> Repair | str:
    repairs = plan_repairs(situation.missing, symbols)
    if not repairs:
        return "No prices are missing; what could not be calibrated or scored is tried again an hour later."
    missing = f"Prices are missing in {counted(len(situation.missing), 'partition')}"
    newest = next((run for run in situation.past if run.job == COMPLETE_DAYS), None)
    if newest and not newest.success and newest.again_at > situation.now:
        return (
            f"{missing}, but run {newest.run_id[:8]} of {COMPLETE_DAYS} failed at {newest.ended:%H:%M} UTC; its page "
            f"shows why. The next try is at {newest.again_at:%H:%M} UTC, or as soon as an outage has ended."
        )
    open_repairs = _not_lately(COMPLETE_DAYS, repairs, situation)
    if not open_repairs:
        return (
            f"{missing}, the newest being {repairs[0]}. CoinGecko answered without them; they are requested again at "
            f"{_again_at(repairs, situation):%H:%M} UTC. rejected_prices and the checks may show why."
        )
    return _affordable(open_repairs[0], situation.budget, missing)


def _not_lately(job: str, repairs: Sequence[Repair], situation: Situation) -> list[Repair]:
    """Return those that no run of `job` has tried too recently."""
    of_job = [run for run in situation.past if run.job == job]
    recent = [run for run in of_job if run.again_at > situation.now and not _is_overtaken(run, situation)]
    tried = {(run.start, run.end) for run in recent}
    failed = {(run.start, run.end) for run in of_job if not run.success}
    # One that fails again and again must not keep the others waiting.
    return sorted((repair for repair in repairs if _range(repair) not in tried), key=lambda one: _range(one) in failed)


def _is_overtaken(run: PastRun, situation: Situation) -> bool:
    """Return whether prices or calibrations may have come since `run` scored its days: one that failed stores some."""
    others = [other for other in situation.past if other.job != SCORE_DAYS]
    return run.job == SCORE_DAYS and run.success and any(other.ended > run.ended for other in others)


def _again_at(repairs: Sequence[Repair], situation: Situation) -> datetime:
    ranges = {_range(repair) for repair in repairs}
    past = [run.again_at for run in situation.past if (run.start, run.end) in ranges]
    return min(again_at for again_at in past if again_at > situation.now)


def _affordable(repair: Repair, budget: BudgetStatus, missing: str) -> Repair | str:
    """Return as much of `repair` as the month's credits allow beside the live prices."""
    if budget.credits_left is None or budget.monthly_credits is None:
        return repair
    free = budget.credits_left - budget.reserve
    if free < 1:
        return (
            f"{missing}, but no credits are left for history: {budget.credits_left:,} of the month's "
            f"{budget.monthly_credits:,} remain and {budget.reserve:,} are reserved for live prices. They renew "
            f"on {budget.renews_at:%Y-%m-%d} 00:00 UTC."
        )
    return replace(repair, symbols=repair.symbols[:free])


def _assets(repair: Repair, situation: Situation) -> list[dg.AssetKey] | None:
    """Return the assets of a run that completes days: all (None) for few days, else prices and bars.

    With the last of the missing days also the coverage, whose checks may send a request.
    """
    if repair.days <= _SCORED_AT_ONCE:
        return None
    is_last = all(repair.first <= day <= repair.last and symbol in repair.symbols for day, symbol in situation.missing)
    return [*_UNSCORED, dg.AssetKey(PRICE_COVERAGE)] if is_last else _UNSCORED


def _tags(part: Repair) -> dict[str, str]:
    return range_tags(part.first, part.last, part.symbols)


def _range(part: Repair) -> tuple[str, str]:
    tags = _tags(part)
    return tags[RANGE_START], tags[RANGE_END]
