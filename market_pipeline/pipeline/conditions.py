"""Decide what is wrong from the facts: a kind for programs, sentences for people.

A dead scheduler, failing ticks, a silent source and missing scores must look different. Of a cause and its consequences
only the cause is reported, with the consequences in its text.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from market_pipeline.core.clock import DAY
from market_pipeline.core.program import command
from market_pipeline.core.wording import some, span
from market_pipeline.pipeline.facts import (
    LITTLE_SPACE,
    SCHEDULER,
    TOO_LITTLE_SPACE,
    AutomationState,
    DagsterFacts,
    DiskSpace,
    InstallationState,
    JobState,
    PriceFacts,
)
from market_pipeline.pipeline.names import CONSEQUENCES, TICK, TICK_SCHEDULE
from market_pipeline.prices.freshness import oldest_fresh

Kind = Literal[
    "starting", "no-prices-yet", "dagster-unreadable", "collected-elsewhere", "never-scheduled", "scheduler-dead",
    "daemon-dead", "daemon-errors", "schedule-off", "schedule-silent", "evaluation-failed", "tick-failed",
    "check-failed", "check-error", "job-failed", "stale-prices", "not-collected", "prices-refused", "quiet-market",
    "scores-behind", "disk-low", "credits-low",
]

_UNKNOWN: frozenset[Kind] = frozenset({"dagster-unreadable", "collected-elsewhere"})
# A failed run of any job but the tick was started by hand, or is followed by another within a day.
_RECENT = DAY + timedelta(hours=1)
# Clocks of two machines differ by less.
_CLOCKS_DIFFER = timedelta(minutes=5)


@dataclass(frozen=True)
class Condition:
    """Something that is wrong: a kind for programs; for people, what it is and what to do.

    `since` is when it began, if that is known. `subject` is the daemon, schedule, job, check or disk concerned,
    `symbols` the coins if it is about some. `quoted` is the text of a foreign error: it may contain anything, so the
    API does not show it.
    """

    kind: Kind
    detail: str
    remedy: str = ""
    since: datetime | None = None
    subject: str = ""
    quoted: str = ""
    symbols: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """The sentences that may be shown to anyone."""
        more = f"`{command('doctor')}` shows the error." if self.quoted else ""
        return " ".join(filter(None, (self.detail, self.remedy, more)))


def _start() -> str:
    """Say how Dagster's daemon is started, which in a deployment is a service of its own."""
    return f"`{command('run')}` starts it; where Dagster's daemon is a service of its own, start that."


def status_of(found: list[Condition]) -> Literal["ready", "degraded", "unknown"]:
    """Return the state in one word: unknown if nothing is known to be wrong, but not everything could be checked."""
    if not found:
        return "ready"
    return "unknown" if all(condition.kind in _UNKNOWN for condition in found) else "degraded"


def conditions(state: InstallationState) -> list[Condition]:
    """Return everything that is wrong, in the order from the scheduler to the scores; nothing if all is well."""
    prices, begun = state.prices, any(state.prices.newest.values()) or state.failed_tick is not None
    found = [] if begun else [
        Condition("no-prices-yet", "No price is stored yet; the first comes with the first tick.")
    ]
    found += _of_daemons(state.dagster, state.now, collected=begun and not prices.stale)
    broken = list(_of_schedules_and_runs(state))
    stopped = next((condition for condition in broken if condition.subject in (TICK, TICK_SCHEDULE)), None)
    if stopped is not None:
        combined = replace(stopped, detail=" ".join([stopped.detail, *_consequences(prices)]))
        broken[broken.index(stopped)] = combined
    found += broken
    found += _of_resources(state)
    if stopped is not None or state.scheduler_alive is False or not begun:
        return found
    if prices.stale:
        found.append(_of_stale_prices(state))
    if prices.unscored and not state.starting:
        found.append(scores_condition(prices))
    return found


def _of_daemons(dagster: DagsterFacts | None, now: datetime, collected: bool) -> Iterator[Condition]:
    """Find what is wrong with the daemons that start runs; `collected` is whether prices arrive anyway."""
    if dagster is None:
        detail = "Dagster's storage cannot be read: whether anything collects, and whether runs fail, is unknown."
        yield Condition("dagster-unreadable", detail, "See the log for the reason.")
    elif dagster.ever_reported:
        yield from _of_silent_daemons(dagster, now)
    elif collected:
        detail = "Prices come in, but no scheduler ever reported to this Dagster instance: failing runs are not seen."
        remedy = "Let DAGSTER_HOME, or DAGSTER_DATABASE_URL, name the Dagster instance of what collects."
        yield Condition("collected-elsewhere", detail, remedy)
    else:
        yield Condition("never-scheduled", "No scheduler has ever reported to this Dagster instance.", _start())


def _of_silent_daemons(dagster: DagsterFacts, now: datetime) -> Iterator[Condition]:
    for beat in dagster.daemons:
        last = f"its last heartbeat was {span(now - beat.at)} ago" if beat.at else "it never reported"
        if not beat.alive and beat.daemon == SCHEDULER:
            detail = f"The scheduler is dead: {last}. No prices are collected."
            yield Condition("scheduler-dead", detail, _start(), beat.at, beat.daemon)
        elif not beat.alive and dagster.scheduler_alive:
            detail = f"Dagster's {beat.daemon} daemon is dead: {last}."
            yield Condition("daemon-dead", detail, _start(), beat.at, beat.daemon)
    # The last report of a dead daemon keeps its errors for good.
    failing = {beat.daemon: beat.error for beat in dagster.daemons if beat.alive and beat.error}
    if failing:
        detail = f"Daemons of Dagster report errors: {', '.join(failing)}."
        remedy = "The log of Dagster's daemon has them; what is over is no longer reported after some minutes."
        yield Condition("daemon-errors", detail, remedy, quoted="; ".join(dict.fromkeys(failing.values())))


def _of_schedules_and_runs(state: InstallationState) -> Iterator[Condition]:
    """Find what is wrong with schedules, sensors and runs, apart from the remains of an earlier start."""
    if state.dagster is None:
        return
    for automation in state.dagster.automations:
        found = automation_condition(automation, state.now)
        if found and not (found.kind == "schedule-silent" and (state.starting or not state.scheduler_alive)):
            yield found
    for job in state.dagster.jobs:
        found = job_condition(job, state.now)
        if found and job.failed and not (state.starting and job.failed.at < state.started):
            yield found
    for check in state.dagster.checks:
        detail = f"The check {check.name} fails: {check.description}"
        yield Condition("check-error", detail, subject=check.name)


def _of_resources(state: InstallationState) -> Iterator[Condition]:
    """Find disks that are nearly full, and a month whose credits are needed for live prices."""
    for disk in state.disks:
        if found := disk_condition(disk):
            yield found
    budget = state.budget
    if budget is not None and budget.credits_left is not None and budget.credits_left < budget.reserve:
        detail = (
            f"{budget.credits_left:,} of the month's {budget.monthly_credits:,} credits are left, fewer than the "
            f"{budget.reserve:,} that live prices need until {budget.renews_at:%Y-%m-%d} 00:00 UTC: history is not "
            "requested, and live prices may stop."
        )
        yield Condition("credits-low", detail, "Collect less often with COLLECT_CRON, or take a larger plan.")


def disk_condition(disk: DiskSpace) -> Condition | None:
    """Return the condition that a disk is nearly full, if it is."""
    if disk.free >= LITTLE_SPACE:
        return None
    detail = f"{disk.free / 1e9:.2f} GB are left on the disk of {disk.what}"
    consequence = "writes may fail at any time." if disk.free < TOO_LITTLE_SPACE else "writes fail when it is full."
    return Condition("disk-low", f"{detail}: {consequence}", "Free some space.", subject=disk.what)


def automation_condition(state: AutomationState, now: datetime) -> Condition | None:
    """Return what is wrong with a schedule or sensor; nothing if it was never evaluated: it was just started."""
    name, at, consequence = state.automation.name, state.evaluated_at, state.automation.consequence
    if not state.on:
        detail = f"{name} was turned off by hand: {consequence}."
        return Condition("schedule-off", detail, "Turn it on under Automation in the Dagster UI.", at, name)
    if at is None:
        return None
    if at > now + _CLOCKS_DIFFER:
        detail = (
            f"{name} was last evaluated {span(at - now)} from now: the clock was ahead then, and Dagster waits until "
            f"that time has come: {consequence}."
        )
        restart, migrate = command("run"), command("migrate")
        by_itself = f"; or run `{migrate}` and restart Dagster's daemon" if migrate != restart else ""
        remedy = f"Restart `{restart}`{by_itself}."
        return Condition("schedule-silent", detail, remedy, None, name)
    if state.outcome == "failure":
        since = state.worked_at or at
        detail = f"{name} has failed since {_clock_time(since, now)}, before it could start a run: {consequence}."
        remedy = "Its last tick under Automation in the Dagster UI has the error."
        return Condition("evaluation-failed", detail, remedy, since, name, state.reason)
    if state.automation.cron is not None and at < oldest_fresh(state.automation.cron, now):
        detail = f"{name} is on, but was last evaluated {span(now - at)} ago: {consequence}."
        remedy = (
            f"Restart `{command('run')}`, or the services of code and daemon; Deployment in the Dagster UI shows "
            "whether the code loads."
        )
        return Condition("schedule-silent", detail, remedy, at, name)
    return None


def job_condition(state: JobState, now: datetime) -> Condition | None:
    """Return what is wrong with the runs of a job, if its last ended run failed."""
    failed = state.failed
    if failed is None or (state.job != TICK and now - failed.at > _RECENT):
        return None
    since, one = state.succeeded_at, "tick" if state.job == TICK else f"run of {state.job}"
    verb = "was stopped by a blocking check" if failed.checks else "failed"
    none = f"none has succeeded since {_clock_time(since, now)}" if since else "none has succeeded yet"
    what = f"The last {one} {verb} {span(now - failed.at)} ago, and {none}"
    if failed.checks:
        results = " ".join(f"{name}: {description}" for name, description in failed.checks)
        return Condition("check-failed", f"{what}: prices are stored, but not scored.", results, since, state.job)
    kind: Kind = "tick-failed" if state.job == TICK else "job-failed"
    detail = f"{what}: {CONSEQUENCES.get(state.job, 'a run that was launched by hand has not done its work')}."
    if failed.ours:
        return Condition(kind, detail, failed.reason, since, state.job)
    remedy = f"Run {failed.run_id[:8]} in the Dagster UI shows why."
    return Condition(kind, detail, remedy, since, state.job, failed.reason)


def scores_condition(prices: PriceFacts) -> Condition:
    """Return the condition that fresh quotes wait for their scores."""
    since = _waiting_since(prices)
    detail = (
        f"The prices of {some(prices.unscored)} are fresh, but have not been scored since "
        f"{_clock_time(since, prices.now)}: they are not searched for anomalies."
    )
    remedy = "See the runs of the job tick in the Dagster UI, steps check_prices and price_anomalies."
    return Condition("scores-behind", detail, remedy, since, symbols=tuple(prices.unscored))


def _consequences(prices: PriceFacts) -> list[str]:
    sentences = [f"{_newest_of_stale(prices)}."] if prices.stale else []
    if prices.unscored:
        since = _clock_time(_waiting_since(prices), prices.now)
        sentences.append(f"The prices of {some(prices.unscored)} have not been searched for anomalies since {since}.")
    return sentences


def _waiting_since(prices: PriceFacts) -> datetime:
    return min(prices.waiting[symbol] for symbol in prices.unscored)


def _of_stale_prices(state: InstallationState) -> Condition:
    """Return why symbols lack a fresh quote although runs seem to succeed."""
    return replace(_why_stale(state), symbols=tuple(state.prices.stale))


def _why_stale(state: InstallationState) -> Condition:
    prices, now, collected_at = state.prices, state.now, state.collected_at
    what = _newest_of_stale(prices)
    since = max((at for symbol in prices.stale if (at := prices.newest[symbol])), default=None)
    if state.dagster is None:
        return Condition("stale-prices", f"{what}.", since=since)
    if prices.refused:
        detail = f"{what}: the source's prices of {some(sorted(prices.refused))} are refused."
        return Condition("prices-refused", detail, "The asset rejected_prices lists each with its reason.", since)
    if state.starting:
        first = f"{state.first_tick:%H:%M} UTC"
        detail = f"{what}. The API has just started; the first tick after that is at {first}."
        return Condition("starting", detail, since=since)
    if collected_at is not None and collected_at >= prices.oldest_fresh:
        ago = span(max(now - collected_at, timedelta()))
        detail = f"{what}, although prices were requested {ago} ago: the market is quiet, or its feed has stopped."
        return Condition("quiet-market", detail, since=since)
    when = f"was {span(now - collected_at)} ago" if collected_at else "was not today"
    detail = f"{what}. The scheduler is alive, but the last collection {when}."
    remedy = f"See queued runs and the ticks of tick_schedule in the Dagster UI, or run `{command('doctor')}`."
    return Condition("not-collected", detail, remedy, since)


def _newest_of_stale(prices: PriceFacts) -> str:
    symbols = some(prices.stale)
    times = [at for symbol in prices.stale if (at := prices.newest[symbol]) is not None]
    if not times:
        return f"There is no price of {symbols} yet"
    return f"The newest price of {symbols} is {span(prices.now - max(times))} old"


def _clock_time(moment: datetime, now: datetime) -> str:
    """Print a time as 02:10 UTC, with the day unless that is today."""
    return f"{moment:%H:%M} UTC" if moment.date() == now.date() else f"{moment:%Y-%m-%d %H:%M} UTC"
