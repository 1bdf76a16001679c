"""What Dagster is still to be told: one report a partition, the newest, however many are waiting."""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from concurrent.futures import TimeoutError as WaitedTooLong
from dataclasses import dataclass
from typing import Any

from market_pipeline.api.own_thread import OwnThread
from market_pipeline.logs import get_logger
from market_pipeline.prices.coverage import DayOfSymbol

logger = get_logger(__name__)

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
