"""Dagster's side of the story: materializations without a run, and the heartbeats of its daemons.

The one module of the API that imports Dagster, and only when it is first needed: the import takes seconds.
"""

import threading
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from market_pipeline.prices.coverage import DayOfSymbol

if TYPE_CHECKING:
    from dagster import DagsterInstance


class DagsterHome:
    """The Dagster instance in the folder `home`, opened when first needed; any thread may use it."""

    def __init__(self, home: Path) -> None:
        self._home = home
        # Its SQLite files take one writer at a time.
        self._lock = threading.Lock()

    @cached_property
    def _instance(self) -> "DagsterInstance":
        from dagster import DagsterInstance

        return DagsterInstance.from_config(str(self._home))

    def report(self, asset: str, day: DayOfSymbol, metadata: Mapping[str, Any]) -> None:
        """Tell Dagster that the partition `day` of `asset` was materialized, by no run of its own."""
        from market_pipeline.defs.price_metadata import materialization

        with self._lock:
            self._instance.report_runless_asset_event(materialization(asset, day, dict(metadata)))

    def close(self) -> None:
        """Give up what was opened."""
        with self._lock:
            instance = self.__dict__.pop("_instance", None)
            if instance is not None:
                instance.dispose()
