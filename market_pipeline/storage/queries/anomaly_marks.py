"""Marks of anomalies: given, taken back, counted by kind, and the prices that remain without marked noise.

A mark belongs to an anomaly's id and coin, not to its row: scoring the day again leaves it.
"""

from collections import Counter
from dataclasses import dataclass, fields
from datetime import datetime

import numpy as np
from sqlalchemy import ColumnElement, Connection, and_, delete, exists, func, select

from market_pipeline.anomalies.marks import LONGEST_NOISE, Mark, MarkCounts, MarkedNoise, noise_mask
from market_pipeline.core.clock import from_microseconds
from market_pipeline.core.columns import Columns
from market_pipeline.logs import get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import of_configured_coins
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import insert
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies

logger = get_logger(__name__)

_MARKS = anomaly_marks.c
# What a mark records of the anomaly.
_RECORDED = ("coin_id", "symbol", "timestamp", "kind", "timestamp_before", "price_before", "price_after")


@dataclass(frozen=True)
class StoredMark:
    """A mark and the anomaly that has it; the time is aware UTC."""

    anomaly_id: str
    symbol: str
    kind: str
    timestamp: datetime
    mark: Mark
    note: str | None
    marked_at: datetime


def save_mark(database: Database, id_: str, mark: Mark, note: str | None, now: datetime) -> StoredMark | None:
    """Mark the anomaly with this id at `now` (aware) and return the mark as stored; None if there is no such anomaly.

    The last mark counts; one that says the same keeps the time at which it was first given. Raises WriteFailed if the
    database refuses it.
    """
    columns = [price_anomalies.c[name] for name in _RECORDED]
    with database.writing(anomaly_marks) as connection:
        found = connection.execute(select(*columns).where(_is_anomaly(database, id_))).one_or_none()
        if found is None:
            return None
        row = {**found._mapping, "anomaly_id": id_, "mark": mark, "note": note, "marked_at": now}
        insert(connection, anomaly_marks, columns_of(anomaly_marks, [row]), on_conflict=True)
        return _stored(connection, id_, found.coin_id)


def delete_mark(database: Database, id_: str) -> bool:
    """Delete the mark of the anomaly with this id; return whether there is such an anomaly, or was such a mark."""
    with database.writing(anomaly_marks) as connection:
        own = and_(_MARKS.anomaly_id == id_, of_configured_coins(database, anomaly_marks))
        if connection.execute(delete(anomaly_marks).where(own)).rowcount:
            return True
        return bool(connection.execute(select(exists().where(_is_anomaly(database, id_)))).scalar())


def mark_counts(database: Database) -> list[MarkCounts]:
    """Count the marks of the configured coins by kind, in the order of kinds."""
    counted = select(_MARKS.kind, _MARKS.mark, func.count()).where(of_configured_coins(database, anomaly_marks))
    by_kind: dict[str, Counter[str]] = {}
    with database.reading() as connection:
        for kind, mark, count in connection.execute(counted.group_by(_MARKS.kind, _MARKS.mark)):
            by_kind.setdefault(kind, Counter())[mark] = count
    return [MarkCounts(kind, **by_kind[kind]) for kind in sorted(by_kind)]


def without_noise(database: Database, prices: Columns) -> Columns:
    """Return `prices` (symbol, timestamp, price; by time within each symbol) without those of marked feed problems."""
    if not len(prices):
        return prices
    times = prices["timestamp"].astype(np.int64)
    first, last = from_microseconds(int(times.min())), from_microseconds(int(times.max()))
    names = ("symbol", "kind", "timestamp", "timestamp_before", "price_before", "price_after")
    marked = select(*(_MARKS[name] for name in names)).where(
        _MARKS.mark == Mark.NOISE.value,
        # A stale feed begins before the quote that shows it.
        _MARKS.timestamp >= first - LONGEST_NOISE,
        _MARKS.timestamp_before <= last,
        of_configured_coins(database, anomaly_marks),
    )
    with database.reading() as connection:
        marks = [MarkedNoise(*row) for row in connection.execute(marked)]
    if not marks:
        return prices
    noise = noise_mask(prices, marks)
    logger.info("%d of %d quotes are left out: they belong to anomalies marked as noise", noise.sum(), len(prices))
    return prices.where(~noise)


def _is_anomaly(database: Database, id_: str) -> ColumnElement[bool]:
    return and_(price_anomalies.c.id == id_, of_configured_coins(database, price_anomalies))


def _stored(connection: Connection, id_: str, coin_id: str) -> StoredMark:
    columns = [_MARKS[field.name] for field in fields(StoredMark)]
    own = _MARKS.anomaly_id == id_, _MARKS.coin_id == coin_id
    row = connection.execute(select(*columns).where(*own)).one()
    return StoredMark(**{**row._mapping, "mark": Mark(row.mark)})
