"""Slices as SQL: which rows of a table belong to a stretch of days of a symbol."""

from sqlalchemy import ColumnElement, Table, and_

from market_pipeline.slices import Slice


def in_slice(table: Table, part: Slice) -> ColumnElement[bool]:
    """The rows of `part`: by the `day` they are filed under where the table has one, else by time."""
    columns = table.columns
    if "day" in columns:
        return and_(
            columns["symbol"] == part.symbol, columns["day"] >= part.first, columns["day"] <= part.last
        )
    return and_(
        columns["symbol"] == part.symbol, columns["timestamp"] >= part.start, columns["timestamp"] < part.end
    )
