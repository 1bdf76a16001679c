"""Writing: `upsert` for facts, `replace` for what is derived. Each is one transaction.

Small writes go through SQLAlchemy, large ones through Arrow and a stage table (see `bulk`): below
some thousand rows importing Arrow costs more than it saves.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import Connection, Table, delete, or_
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from market_pipeline.slices import Slice
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import Database
from market_pipeline.storage.errors import WriteFailed
from market_pipeline.storage.frames import checked_columns
from market_pipeline.storage.records import rows_of
from market_pipeline.storage.types import to_microseconds
from market_pipeline.storage.where import in_slice

if TYPE_CHECKING:
    import pandas as pd

BULK_FROM = 5_000
_ROWS_PER_STATEMENT = 500


def upsert(database: Database, table: Table, rows: Columns | pd.DataFrame) -> int:
    """Insert `rows`, or update the row of the same key where it says something else.

    Which columns decide is `table.info["decides_change"]`; a row that agrees in them is left alone.
    Returns how many rows were inserted or changed. Raises ValueError for rows that do not fit the
    table and WriteFailed if the database refuses one; nothing is written then.
    """
    columns = checked_columns(table, rows)
    if not len(columns):
        return 0
    columns = _last_of_each_key(table, columns)
    if len(columns) >= BULK_FROM:
        from market_pipeline.storage import bulk

        return bulk.write(database, table, columns, [], on_conflict=True)
    with _explained(table), database.writing() as connection:
        return _insert(connection, table, columns, on_conflict=True)


def replace(database: Database, table: Table, rows: Columns | pd.DataFrame, slices: Sequence[Slice]) -> int:
    """Make `rows` the whole content of `slices`; other rows are not touched.

    Returns how many rows were inserted. Raises ValueError if a row lies outside `slices` or does not
    fit the table, and WriteFailed if the database refuses one; nothing is changed then.
    """
    columns = checked_columns(table, rows)
    _require_inside(table, columns, slices)
    if len(columns) >= BULK_FROM:
        from market_pipeline.storage import bulk

        return bulk.write(database, table, columns, slices, on_conflict=False)
    with _explained(table), database.writing() as connection:
        for part in slices:
            connection.execute(delete(table).where(in_slice(table, part)))
        return _insert(connection, table, columns, on_conflict=False)


class _explained:
    """Turns the driver's refusal into WriteFailed."""

    def __init__(self, table: Table) -> None:
        self._table = table

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, DBAPIError):
            raise WriteFailed(f"{self._table.name}: the database refused the rows: {error.orig}. Nothing was written.") from error


def _insert(connection: Connection, table: Table, columns: Columns, on_conflict: bool) -> int:
    rows = rows_of(table, columns)
    written = 0
    for first in range(0, len(rows), _ROWS_PER_STATEMENT):
        statement = _statement(connection.dialect.name, table, rows[first : first + _ROWS_PER_STATEMENT], on_conflict)
        written += connection.execute(statement).rowcount
    return written


def _statement(dialect: str, table: Table, rows: list[dict[str, Any]], on_conflict: bool) -> Any:
    insert = sqlite.insert if dialect == "sqlite" else postgresql.insert
    statement = insert(table).values(rows)
    if not on_conflict:
        return statement
    keys = [key.name for key in table.primary_key]
    facts = {column.name: statement.excluded[column.name] for column in table.columns if column.name not in keys}
    changed = or_(*(table.columns[name].is_distinct_from(statement.excluded[name]) for name in table.info["decides_change"]))
    return statement.on_conflict_do_update(index_elements=keys, set_=facts, where=changed)


def _last_of_each_key(table: Table, columns: Columns) -> Columns:
    """One statement must not touch a row twice: of equal keys the last wins."""
    keys = list(zip(*(columns[key.name].tolist() for key in table.primary_key)))
    last = {key: number for number, key in enumerate(keys)}
    if len(last) == len(keys):
        return columns
    mask = np.zeros(len(keys), dtype=np.bool_)
    mask[list(last.values())] = True
    return columns.where(mask)


def _require_inside(table: Table, columns: Columns, slices: Sequence[Slice]) -> None:
    """ValueError if a row belongs to none of `slices`: it would survive the next replacement."""
    inside = np.zeros(len(columns), dtype=np.bool_)
    for part in slices:
        inside |= (columns["symbol"] == part.symbol) & _within(table, columns, part)
    if not inside.all():
        first = int(np.flatnonzero(~inside)[0])
        place = "day" if "day" in table.columns else "timestamp"
        raise ValueError(
            f"{int((~inside).sum())} rows for {table.name} lie outside the partitions that are replaced, the first "
            f"being {columns['symbol'][first]} {columns[place][first]}"
        )


def _within(table: Table, columns: Columns, part: Slice) -> Any:
    if "day" in table.columns:
        return np.array([part.first <= day <= part.last for day in columns["day"]], dtype=np.bool_)
    times = columns["timestamp"].view(np.int64)
    return (times >= to_microseconds(part.start)) & (times < to_microseconds(part.end))
