"""Which runs of an instance belong to this installation: other code locations may have jobs of the same names.

A run has a tag for its code location if the daemon or the UI created it, and one for its installation if it is a run
of our jobs. Neither is a filter of the query: Dagster would join its table of tags and read every run.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from market_pipeline.pipeline.names import TICK
from market_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg


INSTALLATION = "market_pipeline/installation"
LOCATION = "dagster/code_location"
_PAGE = 20
# The search ends after so many runs of others, or from before the settings changed.
_MOST_OTHERS = 500


@dataclass(frozen=True)
class Owner:
    """An installation: the same coins in the same database, in the code location of this name if there is one.

    With an empty `installation` it owns every run.
    """

    installation: str
    location: str | None = None

    def owns(self, run: "dg.DagsterRun") -> bool:
        """Return whether `run` belongs to this owner; one without tags may."""
        location = run.tags.get(LOCATION)
        if self.location and location and location != self.location:
            return False
        return not self.installation or run.tags.get(INSTALLATION, self.installation) == self.installation

    @property
    def tags(self) -> dict[str, str]:
        """The tags of the runs of our jobs."""
        return {INSTALLATION: self.installation}


def owner_of(settings: Settings, location: str | None = None) -> Owner:
    """Return the owner of the runs of `settings`, in the code location of this name."""
    what = f"{settings.database} {' '.join(settings.catalogue.symbols)}"
    return Owner(hashlib.sha256(what.encode()).hexdigest()[:12], location)


def own_runs(
    instance: "dg.DagsterInstance", owner: Owner, job: str, statuses: "Sequence[dg.DagsterRunStatus]" = ()
) -> "Iterator[dg.RunRecord]":
    """Yield the runs of `job` that `owner` owns, newest first."""
    import dagster as dg

    wanted = dg.RunsFilter(job_name=job, statuses=statuses)
    cursor, others = None, 0
    while others < _MOST_OTHERS:
        page = instance.get_run_records(wanted, limit=_PAGE, cursor=cursor)
        own = [record for record in page if owner.owns(record.dagster_run)]
        yield from own
        if len(page) < _PAGE:
            return
        others += len(page) - len(own)
        cursor = page[-1].dagster_run.run_id


def located(instance: "dg.DagsterInstance", owner: Owner) -> Owner:
    """Return `owner` with the code location of its newest tick; without a tick, the owner of every run.

    For processes outside of a code location. On another machine the same database may have another name, and failing
    ticks must not be missed.
    """
    newest = next(own_runs(instance, owner, TICK), None)
    return replace(owner, location=newest.dagster_run.tags.get(LOCATION)) if newest else Owner("")
