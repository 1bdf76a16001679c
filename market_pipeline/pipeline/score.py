"""What a run of `price_anomalies` does: score its days with the calibrations known then, and count."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from market_pipeline.anomalies.anomaly import Anomaly, Kind, Severity, alarms
from market_pipeline.anomalies.detect import detect_days
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import DayOfSymbol
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.calibrations import calibrations_for
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.schema.tables import price_anomalies


def flagged(database: Database, prices: Columns, partitions: Sequence[DayOfSymbol]) -> list[Anomaly]:
    """The anomalies of these (UTC day, symbol), scored from `prices` and the stored calibrations.

    Raises ValueError if a stored calibration cannot be read.
    """
    known = calibrations_for(database, {day for day, _ in partitions}, DETECTOR_VERSION)
    return detect_days(prices, partitions, known.get)


def rows_of(database: Database, anomalies: Iterable[Anomaly]) -> Columns:
    """The anomalies as rows of their table, each with the coin that its symbol stands for."""
    names = [field.name for field in fields(Anomaly)]
    records = [
        {"coin_id": database.coin_id(anomaly.symbol), **{name: getattr(anomaly, name) for name in names}}
        for anomaly in anomalies
    ]
    return columns_of(price_anomalies, records)


def partition_numbers(
    anomalies: Iterable[Anomaly], partitions: Iterable[DayOfSymbol]
) -> Mapping[DayOfSymbol, dict[str, Any]]:
    """The metadata of each partition: rows, alarms (what is no member of a market event), and how many of
    each severity and kind."""
    of_day: dict[DayOfSymbol, list[Anomaly]] = {day: [] for day in partitions}
    for anomaly in anomalies:
        of_day[anomaly.timestamp.date(), anomaly.symbol].append(anomaly)
    return {day: _numbers(rows) for day, rows in of_day.items()}


def _numbers(rows: Sequence[Anomaly]) -> dict[str, Any]:
    kinds = Counter(f"kind_{Kind(row.kind).value}" for row in rows)
    severities = {f"severity_{severity.value}": 0 for severity in Severity}
    severities |= Counter(f"severity_{Severity(row.severity).value}" for row in rows)
    return {
        "dagster/row_count": len(rows),
        "alarms": len(alarms(rows)),
        **severities,
        **dict(sorted(kinds.items())),
        "detector_version": DETECTOR_VERSION,
    }
