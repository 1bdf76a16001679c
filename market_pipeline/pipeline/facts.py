"""The facts of an installation: how fresh its prices and scores are, and what Dagster knows of its runs.

What they mean is judged in `conditions`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from market_pipeline.pipeline.names import TICK, Automation
from market_pipeline.prices.freshness import oldest_fresh
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.counts import recently_refused
from market_pipeline.storage.queries.latest import newest_quote_times
from market_pipeline.storage.queries.scores import scored_until, unscored_since

# A first run loads the code before it collects.
_FIRST_RUN = timedelta(minutes=2)


# The daemon that starts scheduled runs, as Dagster names it.
SCHEDULER = "SCHEDULER"


@dataclass(frozen=True)
class Heartbeat:
    """A daemon that this instance needs: when it last reported (aware UTC, None if it never did),
    whether that is recent enough at the time of asking, and the first error that it reported."""

    daemon: str
    at: datetime | None
    alive: bool
    error: str | None


@dataclass(frozen=True)
class AutomationState:
    """A schedule or sensor: whether it is on, and how its last evaluation went.

    It was `evaluated_at` (None if never) with `outcome` success, skipped, failure or started; `words` are the
    reason of a skip or the error of a failure. Where it failed, `worked_at` is the last time that it did not.
    """

    automation: Automation
    on: bool
    evaluated_at: datetime | None = None
    outcome: str = ""
    words: str = ""
    worked_at: datetime | None = None


@dataclass(frozen=True)
class FailedRun:
    """The last run of a job that ended, which failed `at` this time.

    `checks` are the blocking checks that stopped it, each name with what it found. `reason` is what the first
    step that failed said; `ours` if this package wrote it.
    """

    at: datetime
    run_id: str
    checks: tuple[tuple[str, str], ...]
    reason: str
    ours: bool


@dataclass(frozen=True)
class JobState:
    """When a run of `job` last succeeded (None if none did), and the failure since, if there is one."""

    job: str
    succeeded_at: datetime | None
    failed: FailedRun | None


@dataclass(frozen=True)
class DagsterFacts:
    """All of it, as it is at one time."""

    daemons: Sequence[Heartbeat]
    automations: Sequence[AutomationState]
    jobs: Sequence[JobState]

    @property
    def scheduler_alive(self) -> bool:
        return any(beat.alive for beat in self.daemons if beat.daemon == SCHEDULER)

    @property
    def ever_reported(self) -> bool:
        return any(beat.at for beat in self.daemons)


@dataclass(frozen=True)
class PriceFacts:
    """The prices and scores of each symbol at `now` (aware UTC, like all times here).

    `newest` is the time of the newest quote of each symbol and `scored` that of the newest scored one, None if
    there is none. `oldest_fresh` is the last tick but one: a quote from before it is stale. `waiting` says since
    when quotes are stored that are newer than the scored one, `refused` which stale symbols had a quote refused.
    """

    now: datetime
    oldest_fresh: datetime
    newest: Mapping[str, datetime | None]
    scored: Mapping[str, datetime | None]
    waiting: Mapping[str, datetime]
    refused: frozenset[str]

    @property
    def stale(self) -> list[str]:
        """The symbols without a fresh quote."""
        return [symbol for symbol, at in self.newest.items() if at is None or at < self.oldest_fresh]

    @property
    def unscored(self) -> list[str]:
        """The symbols with fresh quotes of which some have waited for their score for two ticks."""
        stale = set(self.stale)
        return [symbol for symbol, at in self.waiting.items() if at < self.oldest_fresh and symbol not in stale]


@dataclass(frozen=True)
class InstallationState:
    """An installation: its prices, and what Dagster knows of it, None if its storage cannot be read.

    The API is there since `started`, and `first_tick` is the first one after that. Where prices are stale,
    `collected_at` is when one of their symbols was last collected today or on the day of `oldest_fresh`.
    """

    prices: PriceFacts
    dagster: DagsterFacts | None
    started: datetime
    first_tick: datetime
    collected_at: datetime | None = None

    @property
    def now(self) -> datetime:
        return self.prices.now

    @property
    def starting(self) -> bool:
        """Whether no tick can have come to its end since the API is there, and all may begin together."""
        return self.now < self.first_tick + _FIRST_RUN

    @property
    def scheduler_alive(self) -> bool | None:
        """Whether scheduled runs are started; None if that cannot be known."""
        return None if self.dagster is None else self.dagster.scheduler_alive

    @property
    def failed_tick(self) -> FailedRun | None:
        """The last tick that ended, if it failed."""
        jobs = () if self.dagster is None else self.dagster.jobs
        return next((state.failed for state in jobs if state.job == TICK), None)


def price_facts(database: Database, symbols: Sequence[str], collect_cron: str, now: datetime) -> PriceFacts:
    """Read the database; raises a StorageError or a SQLAlchemyError if that fails."""
    oldest = oldest_fresh(collect_cron, now)
    newest = newest_quote_times(database, symbols, now)
    scored = scored_until(database, symbols)
    behind = {symbol: scored[symbol] for symbol, at in newest.items() if at and at != scored[symbol]}
    facts = PriceFacts(now, oldest, newest, scored, unscored_since(database, behind, now), frozenset())
    if not facts.stale:
        return facts
    refused = frozenset(recently_refused(database, facts.stale, oldest))
    return PriceFacts(now, oldest, newest, scored, facts.waiting, refused)
