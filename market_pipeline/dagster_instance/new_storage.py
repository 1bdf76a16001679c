"""What a new storage of a Dagster instance begins with: its event cursors, and what its former storage decided."""

import logging
from typing import TYPE_CHECKING

from market_pipeline.logs import get_logger

if TYPE_CHECKING:
    import dagster as dg

logger = get_logger(__name__)

_ADVICE = " `market-pipeline migrate-db --partitions` copies which partitions are materialized."


def keep_stopped(
    before: "dg.DagsterInstance", instance: "dg.DagsterInstance", storage: object, files: object, *, advice: bool
) -> None:
    """Keep in the new `instance` what was stopped by hand `before`; log that runs stay in `files`.

    With `advice` how their partitions are copied.
    """
    stopped = [state for state in before.all_instigator_state() if not state.is_running]
    for state in stopped:
        instance.add_instigator_state(state)
    runs = before.get_runs_count()
    logger.log(
        logging.WARNING if advice else logging.INFO,
        "Dagster's storage is now %s, and begins empty. Its former runs (%s) stay in %s.%s Stopped remain: %s",
        storage, f"{runs:,}", files, _ADVICE if advice else "", ", ".join(state.name for state in stopped) or "none",
    )


def set_event_cursors(instance: "dg.DagsterInstance") -> None:
    """Set the position from which the daemon follows the event log for run retries.

    Without a position the daemon warns that it ignores older events. An existing position is where it stopped.
    """
    import dagster as dg

    # The names that the daemon gives them; a test starts the daemon and looks for the warning.
    events = (dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_SUCCESS)
    names = {f"EVENT_LOG_CONSUMER_CURSOR-{event.value}" for event in events}
    cursors = instance.daemon_cursor_storage
    if missing := names - cursors.get_cursor_values(names).keys():
        newest = instance.event_log_storage.get_maximum_record_id() or 0
        cursors.set_cursor_values(dict.fromkeys(missing, str(newest)))
