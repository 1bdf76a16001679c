"""Which runs of Dagster's storage are no longer needed, and their deletion in batches.

A run may go when it is old and every materialization and check in it has a newer successor. The partitions' statuses,
data versions and the results of checks stay as they are; what goes is the history of runs that were superseded.
"""

import time
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from enum import Enum

import dagster as dg
from dagster._core.execution.backfill import BulkActionsFilter, BulkActionStatus

from market_pipeline.core.clock import DAY
from market_pipeline.dagster_instance import run_storage
from market_pipeline.dagster_instance.ownership import INSTALLATION, LOCATION
from market_pipeline.dagster_instance.runs_in_flight import forget_silent_processes
from market_pipeline.logs import get_logger

logger = get_logger(__name__)

# Beyond the days in which every run is kept: failed runs, and the last run of each job and day. They explain what
# happened during an absence, and are the points of the plots over time.
HISTORY = 30 * DAY

_BATCH = 100
_PAGE = 500
# The rest of the time belongs to ticks that wait to write.
_SHARE = 0.5
_LONGEST_PAUSE = 2.0

_ENDED = (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)
_RELATED = ("dagster/parent_run_id", "dagster/root_run_id")
_BACKFILL = "dagster/backfill"
_UNFINISHED = [BulkActionStatus.REQUESTED, BulkActionStatus.CANCELING, BulkActionStatus.FAILING]


class Kept(str, Enum):
    """Why a run is kept."""

    FOREIGN = "of_other_code"
    UNFINISHED = "unfinished"
    RECENT = "recent"
    STATUS = "newest_of_a_partition_or_check"
    NEWEST = "newest_of_its_job"
    FAILED = "failed"
    DAILY = "last_of_its_day"
    RETRIED = "retried_by_a_kept_run"


@dataclass(frozen=True)
class StoredRun:
    """What the decision needs of a run; `ended` is None while it has not ended."""

    run_id: str
    job: str
    tags: Mapping[str, str]
    ended: datetime | None
    success: bool

    @classmethod
    def of(cls, record: dg.RunRecord) -> "StoredRun":
        """Return what matters here of a run; one that was created and never queued counts as ended at once."""
        run, ended = record.dagster_run, None
        if run.status is dg.DagsterRunStatus.NOT_STARTED:
            ended = record.create_timestamp
        elif run.status in _ENDED:
            at = record.end_time
            ended = datetime.fromtimestamp(at, timezone.utc) if at else record.update_timestamp
        return cls(run.run_id, run.job_name, run.tags, ended, run.is_success)

    @property
    def series(self) -> tuple[str, str | None, str | None]:
        """The job, as a part of one code location and installation: others may have a job of the same name."""
        return self.job, self.tags.get(LOCATION), self.tags.get(INSTALLATION)

    def belongs_to(self, location: str | None) -> bool:
        """Return whether it is a run of the code `location`, or of our jobs in a command."""
        of = self.tags.get(LOCATION)
        return INSTALLATION in self.tags if of is None else of == location


@dataclass(frozen=True)
class Situation:
    """What decides beside the runs themselves: the time, the ages, and which runs and backfills must stay."""

    now: datetime
    keep: timedelta
    location: str | None
    carriers: Collection[str]
    backfills: Collection[str] = ()


def superseded(runs: Iterable[StoredRun], situation: Situation) -> tuple[list[str], Counter[Kept]]:
    """Return which of `runs`, newest first, may go, and how many are kept and why."""
    seen: set[object] = set()
    retried: set[str] = set()
    gone, kept = [], Counter[Kept]()
    for run in runs:
        reason = _reason(run, situation, seen) or (Kept.RETRIED if run.run_id in retried else None)
        if reason is None:
            gone.append(run.run_id)
        else:
            kept[reason] += 1
            retried.update(run.tags[tag] for tag in _RELATED if tag in run.tags)
    return gone, kept


def _reason(run: StoredRun, situation: Situation, seen: set[object]) -> Kept | None:
    """Return why `run` is kept, of itself or as one of its job; `seen` holds the outcomes and days of newer runs."""
    if not run.belongs_to(situation.location):
        return Kept.FOREIGN
    if run.ended is None or run.tags.get(_BACKFILL) in situation.backfills:
        return Kept.UNFINISHED
    age = situation.now - run.ended
    outcome, day = (run.series, run.success), (run.series, run.ended.date())
    is_newest, is_last_of_day = outcome not in seen, day not in seen
    seen.update((outcome, day))
    in_history = age < max(HISTORY, situation.keep)
    reasons = {
        Kept.RECENT: age < situation.keep,
        Kept.STATUS: run.run_id in situation.carriers,
        Kept.NEWEST: is_newest,
        Kept.FAILED: in_history and not run.success,
        Kept.DAILY: in_history and is_last_of_day,
    }
    return next((reason for reason, holds in reasons.items() if holds), None)


@dataclass
class Purge:
    """What a purge did, or would do: `deleted` of the runs `found`, `kept` by reason, and files without a run."""

    found: int
    kept: Mapping[Kept, int]
    deleted: int = 0
    orphans: int = 0
    seconds: float = 0.0

    @property
    def by_reason(self) -> dict[str, int]:
        """How many runs are kept for each reason that there is."""
        return {reason.value: self.kept.get(reason, 0) for reason in Kept}

    @property
    def kept_here(self) -> int:
        """How many runs of this code location are kept."""
        return sum(number for reason, number in self.kept.items() if reason is not Kept.FOREIGN)


def purge_runs(
    instance: dg.DagsterInstance,
    location: str | None,
    now: datetime,
    *,
    keep: timedelta,
    within: timedelta,
    dry_run: bool = False,
) -> Purge:
    """Delete the superseded runs of `location` that ended more than `keep` before `now`, oldest first.

    It stops after `within`; the next purge goes on. Two at once delete nothing that both do not find superseded.
    """
    start = time.monotonic()
    # First: a run that is superseded from now on is found by the next purge.
    carriers = run_storage.carriers(instance)
    backfills = instance.get_backfills(filters=BulkActionsFilter(statuses=_UNFINISHED))
    open_backfills = {backfill.backfill_id for backfill in backfills}
    gone, kept = superseded(_newest_first(instance), Situation(now, keep, location, carriers, open_backfills))
    purge = Purge(len(gone), kept)
    files = run_storage.orphans(instance, now)
    if dry_run:
        purge.orphans = len(files)
        return purge
    for run_id in files:
        run_storage.delete_files(instance, run_id)
    purge.orphans = len(files)
    forget_silent_processes(instance, now - HISTORY)
    gone.reverse()
    for first in range(0, len(gone), _BATCH):
        begun = time.monotonic()
        if begun - start > within.total_seconds():
            logger.info("%d superseded runs are left for the next purge", len(gone) - purge.deleted)
            break
        batch = gone[first : first + _BATCH]
        run_storage.delete_runs(instance, batch)
        purge.deleted += len(batch)
        time.sleep(min(_SHARE * (time.monotonic() - begun), _LONGEST_PAUSE))
    purge.seconds = round(time.monotonic() - start, 1)
    return purge


def _newest_first(instance: dg.DagsterInstance) -> Iterator[StoredRun]:
    cursor = None
    while page := instance.get_run_records(limit=_PAGE, cursor=cursor):
        yield from map(StoredRun.of, page)
        cursor = page[-1].dagster_run.run_id
