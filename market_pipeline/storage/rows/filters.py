"""What several queries share: the rows of a symbol's coin, of a slice, the alarms; many statements as one."""

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import ColumnElement, CompoundSelect, Table, and_, or_, tuple_, union_all

from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import price_anomalies


def of_symbol(database: Database, table: Table, symbol: str) -> ColumnElement[bool]:
    """Select the rows of the coin that `symbol` represents."""
    return and_(table.c.symbol == symbol, table.c.coin_id == database.coin_id(symbol))


def of_symbols(database: Database, table: Table, symbols: Sequence[str]) -> ColumnElement[bool]:
    """Select the rows of the coins that `symbols` represent, however many: SQLite nests few conditions."""
    return tuple_(table.c.symbol, table.c.coin_id).in_([(symbol, database.coin_id(symbol)) for symbol in symbols])


def of_configured_coins(database: Database, table: Table) -> ColumnElement[bool]:
    """Select the rows of the coins that the configured symbols represent."""
    return tuple_(table.c.symbol, table.c.coin_id).in_(list(database.coins.items()))


def in_slice(database: Database, table: Table, part: Slice) -> ColumnElement[bool]:
    """Select the rows of the coin of `part` in its days."""
    return and_(table.c.coin_id == database.coin_id(part.symbol), in_slice_of_any_coin(table, part))


def in_slice_of_any_coin(table: Table, part: Slice) -> ColumnElement[bool]:
    """Select the rows of `part`: by the `day` they are filed under where the table has one, else by time."""
    columns = table.c
    if "day" in columns:
        return and_(columns.symbol == part.symbol, columns.day >= part.first, columns.day <= part.last)
    return and_(columns.symbol == part.symbol, columns.timestamp >= part.start, columns.timestamp < part.end)


def united(statements: Sequence[Any]) -> Iterator[CompoundSelect[Any]]:
    """Unite SELECTs of the same columns into as few statements as possible: each costs a round trip."""
    # SQLite takes 500 at once.
    for first in range(0, len(statements), 250):
        yield union_all(*statements[first : first + 250])


def is_alarm() -> ColumnElement[bool]:
    """Select the anomalies that are alarms: those that no other row represents."""
    columns = price_anomalies.c
    return or_(columns.event_id.is_(None), columns.event_id == columns.id)
