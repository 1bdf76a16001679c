"""Slices as SQL: which rows of a table belong to a symbol, and to a stretch of its days."""

from sqlalchemy import ColumnElement, Table, and_

from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database


def of_symbol(database: Database, table: Table, symbol: str) -> ColumnElement[bool]:
    """The rows of the coin that `symbol` stands for."""
    return and_(table.c.symbol == symbol, table.c.coin_id == database.coin_id(symbol))


def in_slice(database: Database, table: Table, part: Slice) -> ColumnElement[bool]:
    """The rows of the coin of `part` in its days."""
    return and_(table.c.coin_id == database.coin_id(part.symbol), in_slice_of_any_coin(table, part))


def in_slice_of_any_coin(table: Table, part: Slice) -> ColumnElement[bool]:
    """The rows of `part`: by the `day` they are filed under where the table has one, else by time."""
    columns = table.c
    if "day" in columns:
        return and_(columns.symbol == part.symbol, columns.day >= part.first, columns.day <= part.last)
    return and_(
        columns.symbol == part.symbol, columns.timestamp >= part.start, columns.timestamp < part.end
    )
