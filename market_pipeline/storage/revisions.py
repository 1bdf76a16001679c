"""Prices that changed after the fact: what a trigger on `raw_prices` kept of the price before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select

from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice
from market_pipeline.storage.schema.operations_tables import price_revisions


@dataclass(frozen=True)
class Revision:
    """One change of a stored price, in US dollars; times are aware UTC.

    `timestamp` is the quote's own time; the `ingested` times say between when and when the price
    `before` was the stored one, the sources which endpoint each price came from.
    """

    symbol: str
    timestamp: datetime
    price_before: float
    source_before: str
    ingested_before: datetime
    price_after: float
    source_after: str
    ingested_after: datetime


def revisions(database: Database, slices: Sequence[Slice]) -> list[Revision]:
    """Every change of a price of `slices`, by slice and in the order in which they were made."""
    columns = [price_revisions.c[name] for name in Revision.__dataclass_fields__]
    with database.reading() as connection:
        return [
            Revision(*row)
            for part in slices
            for row in connection.execute(
                select(*columns).where(in_slice(database, price_revisions, part)).order_by(price_revisions.c.id)
            )
        ]
