"""The lanes of runs: ticks are live and start at once, every other run waits in the background lane.

dagster.yaml names the run coordinator and limits the background lane.
"""

from collections.abc import Mapping

import dagster as dg

from market_pipeline.dagster_instance.event_batches import store_events_in_batches
from market_pipeline.dagster_instance.event_log import keep_event_log_connections

LANE = "market_pipeline/lane"
LIVE = "live"
BACKGROUND = "background"

# The priority serves a dagster.yaml without lanes: the next free slot goes to the tick.
LIVE_TAGS = {LANE: LIVE, "dagster/priority": "10"}

# A re-executed run, by hand or after a crash, inherits the tags of its parent.
_PARENT = "dagster/parent_run_id"


class LanedRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, with a lane for each run."""

    def register_instance(self, instance: dg.DagsterInstance) -> None:
        """Take the instance of a process; the daemon's stores an event for each partition of a run that it creates."""
        super().register_instance(instance)
        keep_event_log_connections()
        store_events_in_batches()

    def submit_run(self, context: dg.SubmitRunContext) -> dg.DagsterRun:
        """Queue the run in its lane."""
        run = context.dagster_run
        lane = lane_of(run.tags)
        if run.tags.get(LANE) != lane:
            self._instance.add_run_tags(run.run_id, {LANE: lane})
        return super().submit_run(context)


def lane_of(tags: Mapping[str, str]) -> str:
    """Return the lane of a run with these tags."""
    return LIVE if tags.get(LANE) == LIVE and _PARENT not in tags else BACKGROUND


def has_lanes(instance: dg.DagsterInstance) -> bool:
    """Return whether the dagster.yaml of `instance` names the run coordinator with lanes."""
    return isinstance(instance.run_coordinator, LanedRunCoordinator)
