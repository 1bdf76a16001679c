"""The newest events of the partitions, read once for the many questions of an evaluation of the repair sensor.

A query for all partitions of an asset takes half the time of one for as many keys.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from typing import TypeVar

import dagster as dg

from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.dagster_instance.nonpublic import (
    data_versions,
    latest_storage_ids,
    planned_storage_ids,
    version_storage_ids,
)
from market_pipeline.dagster_instance.reports import partition_name
from market_pipeline.defs.partitions import days_of

Found = TypeVar("Found", int, str)


class PartitionEvents:
    """The event ids, which grow with time, of the partitions in `instance`, and at most `most_reports` reports.

    `reports_left` are those that may still be made.
    """

    def __init__(self, instance: dg.DagsterInstance, most_reports: int = sys.maxsize) -> None:
        self.instance = instance
        self._materialized: dict[str, dict[DayOfSymbol, int]] = {}
        self.reports_left = most_reports

    def materialized(self, asset: str) -> Mapping[DayOfSymbol, int]:
        """Return the event id of the newest materialization of each partition of `asset` that has one."""
        if asset not in self._materialized:
            self._materialized[asset] = _by_day(latest_storage_ids(self.instance, asset))
        return self._materialized[asset]

    def unfulfilled(self, asset: str) -> set[DayOfSymbol]:
        """Return the partitions that a run was to materialize and did not: it failed, or is in progress."""
        made = self.materialized(asset)
        planned = _by_day(planned_storage_ids(self.instance, asset))
        return {day for day, number in planned.items() if number > made.get(day, 0)}

    def changed(self, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
        """Return the event that changed each of `days`: later ones with its data version reported it again."""
        return _by_day(version_storage_ids(self.instance, asset, map(partition_name, days)))

    def versions(self, asset: str) -> dict[DayOfSymbol, str]:
        """Return the data version of each partition of `asset` that has one."""
        return _by_day(data_versions(self.instance, asset))

    def report(self, waiting: Sequence[dg.AssetMaterialization]) -> int:
        """Report `waiting` from the first on, as many as are left; return how many."""
        some = waiting[: self.reports_left]
        self.reports_left -= len(some)
        for one in some:
            self._materialized.pop(one.asset_key.to_user_string(), None)
            self.instance.report_runless_asset_event(one)
        return len(some)


def latest_events(instance: dg.DagsterInstance, asset: str, days: Iterable[DayOfSymbol]) -> dict[DayOfSymbol, int]:
    """Return the event id of the newest materialization of each of `days` that has one."""
    found = latest_storage_ids(instance, asset, map(partition_name, days))
    return dict(zip(days_of(found), found.values(), strict=True))


def _by_day(found: Mapping[str, Found]) -> dict[DayOfSymbol, Found]:
    """Return what was found by day; a partition that somebody reported under another kind of name is left out."""
    days: dict[DayOfSymbol, Found] = {}
    for key, value in found.items():
        day, _, symbol = key.partition("|")
        try:
            days[date.fromisoformat(day), symbol] = value
        except ValueError:
            continue
    return days
