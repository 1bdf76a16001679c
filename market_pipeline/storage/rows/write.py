"""Writing: `upsert` for facts, `replace` for what is derived. Each is one transaction.

Small writes go through the ordinary driver, large ones through Arrow (see `bulk`): below some ten
thousand rows importing Arrow costs more than it saves.
"""

from collections.abc import Sequence

from sqlalchemy import Connection, Table, delete

from market_pipeline.core.columns import Columns
from market_pipeline.core.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.rows.records import parameters_of
from market_pipeline.storage.rows.statements import arrays_as_rows, insert_from, insert_row
from market_pipeline.storage.rows.validation import checked_columns, distinct, require_inside

BULK_FROM = 20_000
_ROWS_PER_STATEMENT = 5_000


def upsert(database: Database, table: Table, rows: Columns) -> int:
    """Insert `rows`, or update the row of the same key where it differs; return how many were inserted or changed.

    Which columns decide is `table.info["decides_change"]`; a row that agrees in them stays as it is. Of rows with
    equal keys the last counts. Raises ValueError for rows that do not fit the table and WriteFailed if the database
    refuses one; nothing is written then.
    """
    columns = distinct(table, checked_columns(table, rows))
    return _write(database, table, columns, [], on_conflict=True) if len(columns) else 0


def replace(database: Database, table: Table, rows: Columns, slices: Sequence[Slice]) -> int:
    """Make `rows` the whole content of `slices`, rows of another coin included; return how many were inserted.

    Raises ValueError if a row lies outside `slices` or does not fit the table, and WriteFailed if the
    database refuses one; nothing is changed then.
    """
    columns = checked_columns(table, rows)
    require_inside(table, columns, slices)
    return _write(database, table, columns, slices, on_conflict=False)


def insert(connection: Connection, table: Table, columns: Columns, *, on_conflict: bool) -> int:
    """Insert rows of distinct keys inside the transaction of `connection`; return how many were inserted or changed.

    With `on_conflict` the row of the same key is updated as by `upsert`.
    """
    if not len(columns):
        return 0
    values = parameters_of(table, columns, connection.dialect.name)
    if connection.dialect.name == "sqlite":
        text = insert_row(table, on_conflict=on_conflict)
        return connection.exec_driver_sql(text, list(zip(*values, strict=True))).rowcount
    text = insert_from(table, "postgresql", arrays_as_rows(table), on_conflict=on_conflict)
    written = 0
    for first in range(0, len(columns), _ROWS_PER_STATEMENT):
        arrays = tuple(column[first : first + _ROWS_PER_STATEMENT] for column in values)
        written += connection.exec_driver_sql(text, arrays).rowcount
    return written


def _write(database: Database, table: Table, columns: Columns, slices: Sequence[Slice], *, on_conflict: bool) -> int:
    if len(columns) >= BULK_FROM:
        from market_pipeline.storage.rows import bulk

        return bulk.write(database, table, columns, slices, on_conflict=on_conflict)
    with database.writing(table) as connection:
        for part in slices:
            connection.execute(delete(table).where(in_slice_of_any_coin(table, part)))
        return insert(connection, table, columns, on_conflict=on_conflict)
