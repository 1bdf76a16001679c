"""Dagster's side of the story: materializations without a run, and the state of its daemons and runs.

The one module of the API that imports Dagster, and only when it is first needed: importing it and opening
an instance take seconds.
"""

import threading
import time
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from market_pipeline.api.threads import OwnThread
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.logs import get_logger
from market_pipeline.settings import Settings

if TYPE_CHECKING:
    from dagster import DagsterInstance

    from market_pipeline.pipeline.facts import DagsterFacts


# Somebody waits for the answer, and what is reported is stored already.
PATIENCE_SECONDS = 1.0

_Tell = Callable[[str, DayOfSymbol, Mapping[str, Any]], None]


@dataclass
class _Report:
    """What is known of a partition, and when Dagster was told."""

    facts: Mapping[str, Any]
    told: "Future[None]"


class Reports:
    """Reports that `thread` hands to `tell`, in the order in which their partitions came."""

    def __init__(self, thread: OwnThread, tell: _Tell) -> None:
        self._thread = thread
        self._tell = tell
        self._waiting: dict[tuple[str, DayOfSymbol], _Report] = {}
        self._changing = threading.Lock()

    def add(self, asset: str, day: DayOfSymbol, facts: Mapping[str, Any]) -> None:
        """Report `facts` of the partition `day` of `asset`, and wait a little for it to be done.

        Of several that wait to be told of the same partition the last is told: it says how the partition
        is now. Raises what `tell` raises, if it does so in time.
        """
        with self._changing:
            report = self._waiting.get((asset, day))
            if report is None:
                told = self._thread.submit(lambda: self._next(asset, day))
                report = self._waiting[asset, day] = _Report(facts, told)
            report.facts = facts
        try:
            report.told.result(PATIENCE_SECONDS)
        except WaitedTooLong:
            name = partition_name(day)
            logger.info("Dagster's storage takes its time; %s of %s is reported later", asset, name)

    def _next(self, asset: str, day: DayOfSymbol) -> None:
        with self._changing:
            facts = self._waiting.pop((asset, day)).facts
        self._tell(asset, day, facts)


def partition_name(day: DayOfSymbol) -> str:
    """A partition as Dagster names it."""
    return f"{day[0]}|{day[1]}"


logger = get_logger(__name__)

Result = TypeVar("Result")

# Somebody waits for the answer.
_PATIENCE_SECONDS = 5.0
_LAST_WORDS_SECONDS = 2.0
# A page and a scrape that come together read Dagster's storage once.
_KEPT_SECONDS = 5.0


class DagsterUnavailable(RuntimeError):
    """Dagster's storage cannot be read; the message says why."""


class DagsterHome:
    """The Dagster instance in the folder `home`, opened when first needed; any thread may ask.

    One thread of its own does all that is done with the instance: its SQLite files take one writer at a
    time, and nobody who asks waits for longer than a few seconds.
    """

    def __init__(self, home: Path) -> None:
        self._home = home
        self._thread = OwnThread("dagster")
        self._instance: DagsterInstance | None = None
        self._facts: tuple[float, DagsterFacts | None] = 0.0, None
        self._reports = Reports(self._thread, self._tell)

    def open_soon(self) -> None:
        """Begin to open the instance; nothing waits for it. A failure shows when it is first needed."""
        self._thread.submit(self._opened)

    def report(self, asset: str, day: DayOfSymbol, facts: Mapping[str, Any]) -> None:
        """Tell Dagster that the partition `day` of `asset` was materialized, by no run of its own.

        `facts` are what there is to know of it (see `storage.arrivals`). Raises nothing: if it fails the log
        has the error. If it takes long it is done later.
        """
        self._reports.add(asset, day, facts)

    def facts(self, settings: Settings, now: datetime) -> "DagsterFacts":
        """What Dagster knows of daemons, schedules and runs, read some seconds before `now` (aware) at most.

        Raises DagsterUnavailable.
        """

        def read() -> "DagsterFacts":
            from market_pipeline.dagster_instance.facts import read_facts
            from market_pipeline.dagster_instance.ownership import owner_of

            read_at, facts = self._facts
            if facts is None or time.monotonic() - read_at >= _KEPT_SECONDS:
                facts = read_facts(self._opened(), owner_of(settings), settings.collect_cron, now)
                self._facts = time.monotonic(), facts
            return facts

        return self._asked(read)

    def last_materialized(self, asset: str, days: Collection[DayOfSymbol]) -> datetime | None:
        """When one of the partitions `days` of `asset` was last materialized (aware UTC), None if none was.

        Raises DagsterUnavailable.
        """

        def read() -> datetime | None:
            import dagster as dg

            from market_pipeline.defs.partitions import partition_key

            keys = [str(partition_key(*day)) for day in days]
            asked = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=keys)
            found = self._opened().fetch_materializations(asked, limit=1).records
            return datetime.fromtimestamp(found[0].timestamp, timezone.utc) if found else None

        return self._asked(read)

    def close(self) -> None:
        """Give up what was opened."""
        self._thread.submit(self._closed)
        self._thread.stop(_LAST_WORDS_SECONDS)

    def _asked(self, read: Callable[[], Result]) -> Result:
        answer = self._thread.submit(read)
        try:
            return answer.result(_PATIENCE_SECONDS)
        # Its storage may be any of several, so its errors may be of any kind.
        except Exception as error:
            late = answer.cancel() or not answer.done()
            what = f"no answer within {_PATIENCE_SECONDS:.0f} s" if late else repr(error)
            raise DagsterUnavailable(f"The instance in {self._home} cannot be read: {what}") from error

    def _tell(self, asset: str, day: DayOfSymbol, facts: Mapping[str, Any]) -> None:
        try:
            from market_pipeline.defs.assets.raw_prices import as_metadata, materialization

            self._opened().report_runless_asset_event(materialization(asset, day, as_metadata(facts)))
        except Exception:
            logger.exception(
                "Dagster was not told that %s of %s was brought up to date; the rows themselves are stored",
                asset, partition_name(day), extra={"asset": asset, "partition": partition_name(day)},
            )

    def _opened(self) -> "DagsterInstance":
        if self._instance is None:
            from dagster import DagsterInstance

            self._instance = DagsterInstance.from_config(str(self._home))
        return self._instance

    def _closed(self) -> None:
        if self._instance is not None:
            self._instance.dispose()
            self._instance = None
