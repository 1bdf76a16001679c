"""Prices of one symbol, newest first: a page of them as plain rows, or very many as an Arrow table.

Both follow the key of the table backwards from where they begin, so the cost is that of the rows given.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Integer, Select, bindparam, select

from market_pipeline.storage.engine import Database
from market_pipeline.storage.read import readable
from market_pipeline.storage.tables import raw_prices

if TYPE_CHECKING:
    import pyarrow as pa

COLUMNS = ("timestamp", "price", "source", "ingested_at")


@dataclass(frozen=True)
class Asked:
    """At most `rows` of the newest prices of `symbol`, from `start` on and before `end` (aware UTC)."""

    symbol: str
    start: datetime | None
    end: datetime | None
    rows: int


# What `COLUMNS` hold: the times as microseconds since 1970 UTC, the price in US dollars.
Point = tuple[int, float, str, int]


def newest_points(database: Database, asked: Asked) -> Sequence[Point]:
    """What is asked, through the ordinary driver: for some thousands of rows."""
    statement = _readable_rows(database.dialect, asked.start is not None, asked.end is not None)
    with database.reading() as connection:
        return connection.execute(statement, _parameters(database, asked)).all()


def newest_table(database: Database, asked: Asked) -> pa.Table:
    """The same rows as `COLUMNS` in Arrow, times as timestamps in UTC: for a million rows."""
    from market_pipeline.storage import bulk

    columns = [raw_prices.c[name] for name in COLUMNS]
    statement = _rows(columns, asked.start is not None, asked.end is not None).params(_parameters(database, asked))
    return bulk.read_table(database, raw_prices, COLUMNS, [statement], [asked.symbol])


def _parameters(database: Database, asked: Asked) -> dict[str, Any]:
    return {**asdict(asked), "coin_id": database.coin_id(asked.symbol)}


@cache
def _readable_rows(dialect: str, from_start: bool, to_end: bool) -> Select[Any]:
    return _rows([readable(raw_prices.c[name], dialect) for name in COLUMNS], from_start, to_end)


def _rows(columns: Sequence[ColumnElement[Any]], from_start: bool, to_end: bool) -> Select[Any]:
    key = raw_prices.c
    rows = select(*columns).where(key.symbol == bindparam("symbol"), key.coin_id == bindparam("coin_id"))
    # Where nothing limits the time nothing is said of it: PostgreSQL would take any limit for one that
    # leaves few rows until it has seen the table, and sort all of them.
    if from_start:
        rows = rows.where(key.timestamp >= bindparam("start"))
    if to_end:
        rows = rows.where(key.timestamp < bindparam("end"))
    return rows.order_by(key.timestamp.desc()).limit(bindparam("rows", type_=Integer))
