"""Two lanes of runs, so that no queue of history keeps a tick waiting.

The ticks of the schedule are in the live lane, which has no limit: the schedule starts one at a time. Every
other run is in the background lane, whose limit is in dagster.yaml. Runs that a person launches in the UI
carry no tags of this project, so the lane is chosen where all runs pass: as they are queued.
"""

from collections.abc import Mapping

import dagster as dg

LANE = "market_pipeline/lane"
LIVE = "live"
BACKGROUND = "background"

# Also for a dagster.yaml without lanes: the next free place is the tick's.
LIVE_TAGS = {LANE: LIVE, "dagster/priority": "10"}
# Short runs go before a queue of history.
SHORT_TAGS = {"dagster/priority": "5"}

# A run that is executed again by hand or after a crash has the tags of the first one.
_PARENT = "dagster/parent_run_id"


class LanedRunCoordinator(dg.QueuedRunCoordinator):
    """Dagster's queue, which dagster.yaml names, with a lane for each run."""

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
