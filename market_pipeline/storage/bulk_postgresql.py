"""Many rows in and out of PostgreSQL through ADBC, which speaks binary COPY in both directions.

Writing goes into a temporary stage table and from there with one statement into the table, in one
transaction.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
from sqlalchemy import Select, Table, delete
from sqlalchemy.dialects import postgresql

from market_pipeline.slices import Slice
from market_pipeline.storage.engine import Database
from market_pipeline.storage.errors import DatabaseUnavailable
from market_pipeline.storage.refusals import write_failed
from market_pipeline.storage.statements import insert_from
from market_pipeline.storage.where import in_slice_of_any_coin

_STAGE = "market_pipeline_stage"


def write(
    database: Database, table: Table, batch: pa.Table, slices: Sequence[Slice], *, on_conflict: bool
) -> int:
    """Delete `slices`, then insert `batch` (or update on the key); rows inserted or changed."""
    with _connected(database) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.adbc_ingest(_STAGE, batch, mode="create", temporary=True)
                for part in slices:
                    cursor.execute(_text(delete(table).where(in_slice_of_any_coin(table, part))))
                cursor.execute(insert_from(table, "postgresql", _STAGE, on_conflict=on_conflict))
                written = int(cursor.rowcount)
            connection.commit()
        except adbc_driver_manager.Error as error:
            raise write_failed(database, table, str(error)) from None
    return written


def fetch(database: Database, _: pa.Schema, statements: Sequence[Select[Any]]) -> list[pa.Table]:
    """The result of each statement, all as of one moment."""
    with _connected(database) as connection:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                return [_result(cursor, statement) for statement in statements]
        except adbc_driver_manager.Error as error:
            raise _unavailable(database, error) from None


def _result(cursor: Any, statement: Select[Any]) -> pa.Table:
    cursor.execute(_text(statement))
    return cursor.fetch_arrow_table()


def _text(statement: Any) -> str:
    """The statement with its values written out: with parameters ADBC would not read by COPY."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@contextmanager
def _connected(database: Database) -> Iterator[Any]:
    """A connection; closing it without a commit rolls back, and drops the stage table."""
    uri = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        connection = adbc_driver_postgresql.dbapi.connect(uri)
    except adbc_driver_manager.Error as error:
        raise _unavailable(database, error) from None
    with connection:
        yield connection


def _unavailable(database: Database, error: Exception) -> DatabaseUnavailable:
    why = database.without_password(" ".join(str(error).split()))
    return DatabaseUnavailable(f"{database.url} cannot be reached: {why}. DATABASE_URL names it.")
