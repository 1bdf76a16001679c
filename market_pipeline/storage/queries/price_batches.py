"""All prices of a symbol in batches of Arrow, oldest first: for exports, whose memory does not grow with the rows."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np
from sqlalchemy import select

from market_pipeline.core.clock import MICROSECOND, from_microseconds
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.bad_ticks import good_quotes, qualities
from market_pipeline.storage.rows.filters import of_symbol
from market_pipeline.storage.schema.tables import raw_prices

if TYPE_CHECKING:
    import pyarrow as pa

ROWS_OF_BATCH = 100_000
_STORED = ("timestamp", "price", "source", "ingested_at")


def price_batches(
    database: Database, symbol: str, start: datetime, end: datetime, rows: int = ROWS_OF_BATCH
) -> Iterator[pa.Table]:
    """Yield the prices from `start` on and before `end` (aware UTC), `rows` at a time: as stored, and their `quality`.

    Each batch is a query of its own, which begins in the key where the one before ended.
    """
    import pyarrow as pa

    from market_pipeline.storage.rows import bulk

    time = raw_prices.c.timestamp
    stored = select(*(raw_prices.c[name] for name in _STORED)).where(of_symbol(database, raw_prices, symbol))
    length = rows
    while length == rows:
        batch = stored.where(time >= start, time < end).order_by(time).limit(rows)
        table = bulk.read_table(database, raw_prices, _STORED, [batch], [symbol])
        length = len(table)
        if length:
            times = table["timestamp"].cast(pa.int64()).to_numpy()
            with database.reading() as connection:
                good = good_quotes(connection, database, symbol, times, table["price"].to_numpy())
            yield table.append_column("quality", qualities(good))
            start = from_microseconds(int(np.max(times))) + MICROSECOND
