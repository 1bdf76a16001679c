"""The daily peaks of scores: what a calibration remembers of days whose quotes it no longer reads."""

from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

import numpy as np
from sqlalchemy import select

from market_pipeline.anomalies.scores.daily_peaks import COLUMNS
from market_pipeline.core.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.rows.write import upsert
from market_pipeline.storage.schema.tables import daily_peaks

_TYPES: Mapping[str, Any] = {"symbol": object, "day": "datetime64[D]", "cadence": np.int8}


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
    coin_ids = [database.coin_id(symbol) for symbol in peaks["symbol"]]
    rows = {
        **peaks.arrays,
        "day": peaks["day"].astype(object),
        "coin_id": np.array(coin_ids, dtype=object),
        "detector_version": np.full(len(peaks), detector_version, dtype=object),
    }
    upsert(database, daily_peaks, Columns(rows))
