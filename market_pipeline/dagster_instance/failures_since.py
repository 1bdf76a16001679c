"""Failures that Dagster has recorded since a cursor: runs by the ids of their events, evaluations by their times."""

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.core.wording import first_line, some
from market_pipeline.dagster_instance.facts import instigators, is_retried
from market_pipeline.dagster_instance.failures import recorded_failure
from market_pipeline.dagster_instance.ownership import Owner, located
from market_pipeline.pipeline.facts import Failure
from market_pipeline.pipeline.names import automations

if TYPE_CHECKING:
    import dagster as dg

# More in one look are counted with the next.
_MOST = 200
_PARTITION_TAGS = (
    "dagster/partition", "dagster/asset_partition_range_start", "dagster/asset_partition_range_end",
)


def storage_id(instance: "dg.DagsterInstance") -> str:
    """Return what identifies the storage of `instance`: the numbers of its events begin again in another one."""
    read = getattr(instance.run_storage, "get_run_storage_id", None)
    return str(read()) if read else ""


def failed_runs(
    instance: "dg.DagsterInstance", owner: Owner, after: int | None
) -> tuple[list[Failure], int]:
    """Return `owner`'s runs that failed for good after the event `after`, oldest first, and the cursor that follows.

    A run that Dagster starts again, and one that was interrupted, is none. Without a cursor there are none:
    the watch begins now.
    """
    import dagster as dg
    from dagster._core.event_api import EventLogCursor

    failure = dg.DagsterEventType.RUN_FAILURE
    if after is None:
        newest = instance.fetch_run_status_changes(failure, limit=1).records
        return [], newest[0].storage_id if newest else 0
    cursor = EventLogCursor.from_storage_id(after).to_string()
    records = instance.fetch_run_status_changes(failure, limit=_MOST, cursor=cursor, ascending=True).records
    owner = located(instance, owner)
    found = []
    for record in records:
        run = instance.get_run_by_id(record.run_id)
        if run is not None and owner.owns(run) and not is_retried(run):
            why = recorded_failure(instance, record.run_id)
            if why is not None:
                at = from_microseconds(round(record.timestamp * 1_000_000))
                reason = first_line(why.text) if why.ours else ""
                found.append(Failure(run.job_name, at, record.run_id, reason, _assets(run)))
    return found, records[-1].storage_id if records else after


def failed_evaluations(
    instance: "dg.DagsterInstance", owner: Owner, collect_cron: str, after: int | None, now: datetime
) -> tuple[list[Failure], int]:
    """Return the evaluations that failed after `after` (microseconds since 1970), oldest first, and the next cursor."""
    if after is None:
        return [], to_microseconds(now)
    owner = located(instance, owner)
    names = {automation.name for automation in automations(collect_cron)}
    found = sorted(_failed_evaluations(instance, owner, names, after), key=lambda failure: failure.at)
    return found, max([after, *(to_microseconds(failure.at) for failure in found)])


def _failed_evaluations(
    instance: "dg.DagsterInstance", owner: Owner, names: set[str], after: int
) -> Iterator[Failure]:
    from dagster._core.scheduler.instigation import TickStatus

    for name, state in instigators(instance, owner).items():
        if name not in names:
            continue
        ticks = instance.get_ticks(
            state.instigator_origin_id, state.selector_id, after=after / 1_000_000, limit=_MOST,
            statuses=[TickStatus.FAILURE],
        )
        for tick in ticks:
            at = round(tick.timestamp * 1_000_000)
            if at > after:
                yield Failure(name, from_microseconds(at))


def _assets(run: "dg.DagsterRun") -> str:
    names = sorted(key.path[-1] for key in run.asset_selection or ())
    partitions = dict.fromkeys(run.tags[tag] for tag in _PARTITION_TAGS if tag in run.tags)
    return ", ".join(filter(None, (some(names, 3) if names else "", "...".join(partitions))))
