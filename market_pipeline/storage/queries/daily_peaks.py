"""The daily peaks of scores: what a calibration remembers of days whose quotes it no longer reads."""

from collections.abc import Mapping, Sequence
from datetime import date
from importlib import import_module
from typing import Any

import numpy as np
from sqlalchemy import select

from market_pipeline.anomalies.scores.daily_peaks import COLUMNS
from market_pipeline.core.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.schema.tables import daily_peaks

_TYPES: Mapping[str, Any] = {"symbol": object, "day": "datetime64[D]", "cadence": np.int8}
# A row has eight values and SQLite takes 32,766 in one statement.
_ROWS_PER_STATEMENT = 1_000


def stored_peaks(
    database: Database, symbols: Sequence[str], first: date, last: date, detector_version: str
) -> Columns:
    """Return the peaks of `symbols` from `first` to `last` (UTC days, both included), by symbol and day."""
    columns = daily_peaks.c
    selected = select(*(columns[name] for name in COLUMNS)).order_by(columns.day)
    rows: list[Any] = []
    with database.reading() as connection:
        for symbol in symbols:
            wanted = selected.where(
                of_symbol(database, daily_peaks, symbol), columns.day >= first, columns.day <= last,
                columns.detector_version == detector_version,
            )
            rows += connection.execute(wanted).all()
    values = list(zip(*rows, strict=True)) if rows else [()] * len(COLUMNS)
    arrays = {
        name: np.array(column, dtype=_TYPES.get(name, np.float64))
        for name, column in zip(COLUMNS, values, strict=True)
    }
    return Columns(arrays)


def save_peaks(database: Database, peaks: Columns, detector_version: str) -> None:
    """Store the peaks, in place of those that are stored of the same coins and days: more quotes may be known today."""
    lists = [peaks[name].tolist() for name in COLUMNS]
    records = [dict(zip(COLUMNS, row, strict=True)) for row in zip(*lists, strict=True)]
    rows = [
        {**record, "detector_version": detector_version, "coin_id": database.coin_id(record["symbol"])}
        for record in records
    ]
    if not rows:
        return
    insert: Any = import_module(f"sqlalchemy.dialects.{database.dialect}").insert
    keys = [column.name for column in daily_peaks.primary_key]
    with database.writing(daily_peaks) as connection:
        for start in range(0, len(rows), _ROWS_PER_STATEMENT):
            statement = insert(daily_peaks).values(rows[start : start + _ROWS_PER_STATEMENT])
            changed = {name: statement.excluded[name] for name in COLUMNS if name not in keys}
            connection.execute(statement.on_conflict_do_update(index_elements=keys, set_=changed))
