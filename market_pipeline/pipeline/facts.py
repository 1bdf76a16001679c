"""The facts of an installation: how fresh its prices and scores are, and the state of its daemons, schedules and runs.

`dagster_instance.facts` reads Dagster's side, `conditions` decides what is wrong. `/readyz`, `/metrics`, the page and
`market-pipeline doctor` print the same facts. All times are aware UTC.
"""

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path

from market_pipeline.budget.status import BudgetStatus
from market_pipeline.pipeline.names import TICK, Automation
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import recently_refused
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.queries.scores import scored_until, unscored_since

# The daemon that starts scheduled runs, as Dagster names it. It reports once a minute, when it looks for due ticks.
SCHEDULER = "SCHEDULER"
_SCHEDULER_SILENT_AFTER = timedelta(minutes=3)
# The other daemons may be busy for long; Dagster itself complains after this time.
_BUSY_SILENT_AFTER = timedelta(minutes=30, seconds=30)
# A first run loads the code before it collects.
_FIRST_RUN = timedelta(minutes=2)


@dataclass(frozen=True)
class Heartbeat:
    """A required daemon: when it last reported (None if never), whether it is alive, and the error it reported."""

    daemon: str
    at: datetime | None
    alive: bool
    error: str | None


def judged(reports: Mapping[str, tuple[datetime | None, str | None]], now: datetime) -> list[Heartbeat]:
    """Decide which daemons are alive at `now` from the time and the error of the last report of each.

    All run in the process of the scheduler. Only while that is alive may a long silence of another daemon mean that
    it is busy.
    """

    def silent_for(daemon: str) -> timedelta:
        at, _ = reports.get(daemon, (None, None))
        return timedelta.max if at is None else now - at

    process_lives = silent_for(SCHEDULER) <= _SCHEDULER_SILENT_AFTER
    others = _BUSY_SILENT_AFTER if process_lives else _SCHEDULER_SILENT_AFTER
    return [
        Heartbeat(daemon, at, silent_for(daemon) <= (_SCHEDULER_SILENT_AFTER if daemon == SCHEDULER else others), error)
        for daemon, (at, error) in reports.items()
    ]


@dataclass(frozen=True)
class AutomationState:
    """A schedule or sensor: whether it is on, and how its last evaluation ended.

    The last evaluation was at `evaluated_at` (None if never), with `outcome` success, skipped, failure or started;
    `reason` is that of a skip, or the error of a failure. After a failure, `worked_at` is the last time that it did not
    fail.
    """

    automation: Automation
    on: bool
    evaluated_at: datetime | None = None
    outcome: str = ""
    reason: str = ""
    worked_at: datetime | None = None


@dataclass(frozen=True)
class FailedRun:
    """The last ended run of a job, which failed `at` this time.

    `checks` are the blocking checks that stopped it, each name with its result. `reason` is the error of the first
    failed step; `ours` if this package wrote that text.
    """

    at: datetime
    run_id: str
    checks: tuple[tuple[str, str], ...]
    reason: str
    ours: bool


@dataclass(frozen=True)
class Failure:
    """A run of the job `name`, or an evaluation of the schedule or sensor `name`, that failed `at` this time.

    An evaluation has no `run_id`. `reason` is empty unless this package wrote it. `assets` says what the run was to
    materialize, and of which partitions.
    """

    name: str
    at: datetime
    run_id: str = ""
    reason: str = ""
    assets: str = ""


@dataclass(frozen=True)
class FailedCheck:
    """A check that does not block and whose last result is an ERROR, with its description."""

    name: str
    description: str


@dataclass(frozen=True)
class JobState:
    """When a run of `job` last succeeded (None if none did), and the failure since, if there is one."""

    job: str
    succeeded_at: datetime | None
    failed: FailedRun | None


@dataclass(frozen=True)
class StoredSize:
    """How much disk both stores took `at` this time."""

    at: datetime
    dagster: int
    prices: int


# Less time between two measurements tells nothing about the growth of a day.
_LEAST_GROWTH_TIME = timedelta(days=2)


def growth_per_day(sizes: Sequence[StoredSize]) -> tuple[float, float] | None:
    """Return by how many bytes a day Dagster's storage and the prices grow; None if that is not known.

    `sizes` are of one time a day, newest first.
    """
    if not sizes or (time := sizes[0].at - sizes[-1].at) < _LEAST_GROWTH_TIME:
        return None
    days, last, first = time / timedelta(days=1), sizes[0], sizes[-1]
    return (last.dagster - first.dagster) / days, (last.prices - first.prices) / days


@dataclass(frozen=True)
class DagsterFacts:
    """Daemons, schedules with sensors, jobs, and failed checks at one time."""

    daemons: Sequence[Heartbeat]
    automations: Sequence[AutomationState]
    jobs: Sequence[JobState]
    checks: Sequence[FailedCheck] = ()

    @property
    def scheduler_alive(self) -> bool:
        """Whether scheduled runs are started."""
        return any(beat.alive for beat in self.daemons if beat.daemon == SCHEDULER)

    @property
    def ever_reported(self) -> bool:
        """Whether any daemon ever ran on this instance."""
        return any(beat.at for beat in self.daemons)


@dataclass(frozen=True)
class PriceFacts:
    """The prices and scores of each symbol at `now`.

    `newest` is the time of each symbol's newest quote and `scored` the time of its newest scored quote, None if there
    is none. A quote older than `oldest_fresh`, the last tick but one, is stale. `waiting` is the time since which
    quotes newer than the scored one are stored; `refused` are stale symbols of which a quote was refused.
    """

    now: datetime
    oldest_fresh: datetime
    newest: Mapping[str, datetime | None]
    scored: Mapping[str, datetime | None]
    waiting: Mapping[str, datetime]
    refused: frozenset[str] = frozenset()

    @property
    def stale(self) -> list[str]:
        """The symbols without a fresh quote."""
        return [symbol for symbol, at in self.newest.items() if at is None or at < self.oldest_fresh]

    @property
    def unscored(self) -> list[str]:
        """The symbols with fresh quotes, some of which have waited to be scored for two ticks."""
        stale = set(self.stale)
        return [symbol for symbol, at in self.waiting.items() if at < self.oldest_fresh and symbol not in stale]


def price_facts(database: Database, symbols: Sequence[str], collect_cron: str, now: datetime) -> PriceFacts:
    """Read the database; raises a StorageError or a SQLAlchemyError if that fails."""
    oldest = oldest_fresh(collect_cron, now)
    newest = newest_quote_times(database, symbols, now)
    scored = scored_until(database, symbols)
    behind = {symbol: scored[symbol] for symbol, at in newest.items() if at and at != scored[symbol]}
    facts = PriceFacts(now, oldest, newest, scored, unscored_since(database, behind, now))
    return replace(facts, refused=frozenset(recently_refused(database, facts.stale, oldest))) if facts.stale else facts


# Ticks and backfills write megabytes between checkpoints.
LITTLE_SPACE, TOO_LITTLE_SPACE = 1_000_000_000, 100_000_000


@dataclass(frozen=True)
class DiskSpace:
    """The bytes that are free on the disk of `what`: the database, or Dagster's storage."""

    what: str
    free: int


def disk_spaces(folders: Mapping[str, Path]) -> list[DiskSpace]:
    """Return the free space of the disk of each folder, once for each disk; a folder that cannot be read has none."""
    found: dict[int, DiskSpace] = {}
    for what, folder in folders.items():
        try:
            found.setdefault(folder.stat().st_dev, DiskSpace(what, shutil.disk_usage(folder).free))
        except OSError:
            continue
    return list(found.values())


def storage_folders(database: Database, home: Path) -> dict[str, Path]:
    """Return the folders on this machine that grow; the disk of a PostgreSQL server cannot be seen from here."""
    file = {"the database": Path(database.url.database or "").parent} if database.dialect == "sqlite" else {}
    return {**file, "Dagster's storage": home}


@dataclass(frozen=True)
class InstallationState:
    """An installation: its prices and its Dagster side, which is None if Dagster's storage cannot be read.

    The API was started at `started`; `first_tick` is the first one after that. If prices are stale, `collected_at` is
    when one of their symbols was last collected, if that was for today or yesterday. `budget` is None where the plan
    has no monthly credits.
    """

    prices: PriceFacts
    dagster: DagsterFacts | None
    started: datetime
    first_tick: datetime
    collected_at: datetime | None = None
    disks: Sequence[DiskSpace] = ()
    budget: BudgetStatus | None = None

    @property
    def now(self) -> datetime:
        """The time of these facts."""
        return self.prices.now

    @property
    def starting(self) -> bool:
        """Whether no tick can have ended since the API was started; all processes may be starting together."""
        return self.now < self.first_tick + _FIRST_RUN

    @property
    def scheduler_alive(self) -> bool | None:
        """Whether scheduled runs are started; None if that is not known."""
        return None if self.dagster is None else self.dagster.scheduler_alive

    @property
    def failed_tick(self) -> FailedRun | None:
        """The last ended tick, if it failed."""
        jobs = () if self.dagster is None else self.dagster.jobs
        return next((state.failed for state in jobs if state.job == TICK), None)
