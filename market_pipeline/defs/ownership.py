"""Which runs of an instance are ours: other code locations may have jobs of the same names on it.

A run knows its code location if the daemon or the UI created it, and what it works on if it is one of our jobs.
Neither is asked of Dagster as a filter: joining its table of tags reads every run that there is.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from market_pipeline.settings import Settings

if TYPE_CHECKING:
    import dagster as dg

INSTALLATION = "market_pipeline/installation"
_LOCATION = "dagster/code_location"
_PAGE = 50


@dataclass(frozen=True)
class Owner:
    """Whoever collects the same coins into the same database; in a code location with a name, that one alone."""

    installation: str
    location: str | None = None

    def owns(self, run: "dg.DagsterRun") -> bool:
        """Whether `run` is ours; one that does not say whose it is may be."""
        location = run.tags.get(_LOCATION)
        if self.location and location and location != self.location:
            return False
        return run.tags.get(INSTALLATION, self.installation) == self.installation

    @property
    def tags(self) -> dict[str, str]:
        """What the runs of our jobs carry."""
        return {INSTALLATION: self.installation}


def owner_of(settings: Settings, location: str | None = None) -> Owner:
    """Return the owner of the runs of `settings`, in the code location of this name."""
    what = f"{settings.database} {' '.join(settings.catalogue.symbols)}"
    return Owner(hashlib.sha256(what.encode()).hexdigest()[:12], location)


def own_runs(
    instance: "dg.DagsterInstance", owner: Owner, job: str, statuses: "Sequence[dg.DagsterRunStatus]" = ()
) -> "Iterator[dg.RunRecord]":
    """The runs of `job` that `owner` owns, newest first."""
    import dagster as dg

    wanted = dg.RunsFilter(job_name=job, statuses=statuses)
    cursor = None
    while page := instance.get_run_records(wanted, limit=_PAGE, cursor=cursor):
        yield from (record for record in page if owner.owns(record.dagster_run))
        cursor = page[-1].dagster_run.run_id
