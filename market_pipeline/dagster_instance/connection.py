"""Access to Dagster for the API and the watcher: materializations without a run, the state of the installation.

Dagster is imported when it is first needed, in the thread that uses it: importing it and opening an instance take
seconds.
"""

import contextvars
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from market_pipeline.budget.status import budget_status, has_monthly_credits
from market_pipeline.core.clock import DAY
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.dagster_instance.facts import read_facts
from market_pipeline.dagster_instance.home import open_instance
from market_pipeline.dagster_instance.instance_storage import FILES, InstanceStorage
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.dagster_instance.reports import as_metadata, last_materialized, materialization, partition_name
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.facts import (
    DagsterFacts,
    InstallationState,
    disk_spaces,
    price_facts,
    storage_folders,
)
from market_pipeline.prices.freshness import next_tick
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

if TYPE_CHECKING:
    from dagster import DagsterInstance

logger = get_logger(__name__)

Result = TypeVar("Result")

_CLOSE_SECONDS = 2.0


class DagsterUnavailable(RuntimeError):
    """Dagster's storage cannot be read; the message says why."""


@dataclass
class _Report:
    """What to report of a partition, and the future of its report."""

    facts: Mapping[str, Any]
    done: "Future[None]"


class DagsterHome:
    """The Dagster instance in the folder `home`, with this `storage`, opened when first needed; safe from any thread.

    One thread does everything with the instance: its SQLite files take one writer at a time, and no caller waits
    longer than `read_seconds`, or `report_seconds` for a report. What is read serves other callers for
    `cache_seconds`: a page and a scrape that come together read Dagster's storage once.
    """

    def __init__(
        self, home: Path, storage: InstanceStorage = FILES, *, read_seconds: float = 5.0, report_seconds: float = 1.0,
        cache_seconds: float = 5.0,
    ) -> None:
        self.home = home
        self._storage = storage
        self._read_seconds = read_seconds
        self._report_seconds = report_seconds
        self._cache_seconds = cache_seconds
        self._thread = ThreadPoolExecutor(1, "dagster")
        self._instance: DagsterInstance | None = None
        self._facts: tuple[float, DagsterFacts | None] = 0.0, None
        self._reports: dict[tuple[str, DayOfSymbol], _Report] = {}
        self._adding = threading.Lock()

    def open_soon(self) -> None:
        """Begin to open the instance in the background; an error shows when it is first needed."""
        self._submit(self._opened)

    def report(self, asset: str, day: DayOfSymbol, facts: Mapping[str, Any]) -> None:
        """Record in Dagster that the partition `day` of `asset` was materialized, without a run.

        `facts` become the metadata. Best effort: an error is logged, and a slow storage is not waited for. Of
        several pending reports of a partition only the last is made: it describes the present.
        """
        with self._adding:
            report = self._reports.get((asset, day))
            if report is None:
                done = self._submit(lambda: self._report_next(asset, day))
                report = self._reports[asset, day] = _Report(facts, done)
            report.facts = facts
        if wait([report.done], self._report_seconds).not_done:
            logger.info("Dagster's storage is slow; %s of %s will be reported later", asset, partition_name(day))

    def facts(self, settings: Settings, now: datetime) -> DagsterFacts:
        """Return the state of daemons, schedules and runs, a few seconds old at most; raises DagsterUnavailable."""

        def read() -> DagsterFacts:
            read_at, facts = self._facts
            if facts is None or time.monotonic() - read_at >= self._cache_seconds:
                facts = read_facts(self._opened(), owner_of(settings), settings.collect_cron, now)
                self._facts = time.monotonic(), facts
            return facts

        return self._read(read)

    def last_materialized(self, asset: str, days: Collection[DayOfSymbol]) -> datetime | None:
        """Return when one of the partitions `days` of `asset` was last materialized (aware UTC), None if none was.

        Raises DagsterUnavailable.
        """
        return self._read(lambda: last_materialized(self._opened(), asset, days))

    def read(self, read: "Callable[[DagsterInstance], Result]") -> Result:
        """Return what `read` reads from the instance; raises DagsterUnavailable."""
        return self._read(lambda: read(self._opened()))

    def close(self) -> None:
        """Close the instance after the reports so far; wait two seconds for that at most."""
        wait([self._submit(self._dispose)], _CLOSE_SECONDS)

    def _submit(self, call: Callable[[], Result]) -> "Future[Result]":
        """Call in Dagster's thread, with the caller's context variables: they are in its log lines."""
        return self._thread.submit(contextvars.copy_context().run, call)

    def _read(self, read: Callable[[], Result]) -> Result:
        answer = self._submit(read)
        try:
            return answer.result(self._read_seconds)
        # Dagster's storage may be any of several, so its errors may be of any kind.
        except Exception as error:
            late = answer.cancel() or not answer.done()
            reason = f"no answer within {self._read_seconds:.0f} s" if late else repr(error)
            raise DagsterUnavailable(f"The instance in {self.home} cannot be read: {reason}") from error

    def _report_next(self, asset: str, day: DayOfSymbol) -> None:
        with self._adding:
            facts = self._reports.pop((asset, day)).facts
        try:
            self._opened().report_runless_asset_event(materialization(asset, day, as_metadata(day, facts)))
        except Exception:
            logger.exception(
                "Dagster could not record that %s of %s was updated; the rows themselves are stored",
                asset, partition_name(day), extra={"asset": asset, "partition": partition_name(day)},
            )

    def _opened(self) -> "DagsterInstance":
        if self._instance is None:
            self._instance = open_instance(self.home, self._storage)
        return self._instance

    def _dispose(self) -> None:
        if self._instance is not None:
            self._instance.dispose()
            self._instance = None


def installation_state(
    settings: Settings, database: Database, dagster: DagsterHome, started: datetime, now: datetime,
    symbols: Sequence[str] | None = None,
) -> InstallationState:
    """Return the installation's state at `now`, as a process that was started at `started` sees it.

    With `symbols` its prices are theirs only. Raises a StorageError or SQLAlchemyError if the database cannot be read.
    """
    cron = settings.collect_cron
    prices = price_facts(database, symbols or settings.catalogue.symbols, cron, now)
    state = InstallationState(
        prices, None, started, next_tick(cron, started),
        disks=disk_spaces(storage_folders(database, dagster.home)),
        budget=budget_status(settings, database, now) if has_monthly_credits(settings) else None,
    )
    try:
        facts = dagster.facts(settings, now)
        # What the source returns shortly after midnight may be a quote of yesterday.
        days = {(day, symbol) for day in (now.date(), now.date() - DAY) for symbol in prices.stale}
        collected_at = dagster.last_materialized(tables.raw_prices.name, days) if days else None
    except DagsterUnavailable as error:
        logger.warning("%s", error)
        return state
    return replace(state, dagster=facts, collected_at=collected_at)
