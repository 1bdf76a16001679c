"""Many rows in and out of PostgreSQL through ADBC, which uses binary COPY in both directions.

Writes go to a temporary stage table and from there with one statement to the table, in one transaction.
"""

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

import adbc_driver_manager
import adbc_driver_postgresql.dbapi
import pyarrow as pa
from sqlalchemy import Select, Table, delete
from sqlalchemy.dialects import postgresql

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import DatabaseUnavailable, ReadCancelled, sentences
from market_pipeline.storage.engine import Database
from market_pipeline.storage.postgresql import Call, ServerSilent, dsn_of, in_own_thread
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.rows.statements import insert_from

Result = TypeVar("Result")

_STAGE = "market_pipeline_stage"
_CANCEL_AGAIN_SECONDS = 0.5


def write(
    database: Database, table: Table, batch: pa.Table, slices: Sequence[Slice], *, on_conflict: bool
) -> int:
    """Delete `slices`, then insert `batch` (or update on the key); return how many rows were inserted or changed."""

    def transact(call: Call) -> int:
        with _connected(database) as connection:
            try:
                with connection.cursor() as cursor:
                    call.session = _session(cursor)
                    cursor.adbc_ingest(_STAGE, batch, mode="create", temporary=True)
                    for part in slices:
                        cursor.execute(_text(delete(table).where(in_slice_of_any_coin(table, part))))
                    cursor.execute(insert_from(table, "postgresql", _STAGE, on_conflict=on_conflict))
                    written = int(cursor.rowcount)
                    # A pooler may give this session to another client.
                    cursor.execute(f"DROP TABLE {_STAGE}")
                # The caller was given an error, and may have written something else since.
                if call.abandoned:
                    raise ServerSilent
                connection.commit()
            except adbc_driver_manager.Error as error:
                raise database.write_failed(table, str(error)) from None
        return written

    return _waiting(database, transact)


def fetch(
    database: Database, statements: Sequence[Select[Any]], cancelled: threading.Event | None = None
) -> list[pa.Table]:
    """Return the result of each statement, all as of one moment; ReadCancelled at once when `cancelled` is set."""
    cancellable = _Cancellable()

    def transact(call: Call) -> list[pa.Table]:
        with _connected(database) as connection, cancellable.holding(connection):
            try:
                with connection.cursor() as cursor:
                    cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                    call.session = _session(cursor)
                    return [_result(cursor, statement, call) for statement in statements]
            except adbc_driver_manager.Error as error:
                raise _unavailable(database, error) from None

    try:
        return _waiting(database, transact, cancelled)
    except ReadCancelled:
        # Cancelling needs another connection to the server, and may wait for it.
        threading.Thread(target=cancellable.cancel, name="bulk cancel", daemon=True).start()
        raise


class _Cancellable:
    """A connection of another thread, whose query can be cancelled until it is closed."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._connection: Any = None

    @contextmanager
    def holding(self, connection: Any) -> Iterator[None]:
        self._connection = connection
        try:
            yield
        finally:
            # It must not be closed while its query is being cancelled.
            with self._lock:
                self._connection = None

    def cancel(self) -> None:
        """Cancel until the connection is closed: cancelling has no effect on a query that has not begun yet."""
        while self._connection is not None:
            with self._lock, suppress(adbc_driver_manager.Error):
                if self._connection is not None:
                    self._connection.adbc_cancel()
            time.sleep(_CANCEL_AGAIN_SECONDS)


def _waiting(
    database: Database, transact: Callable[[Call], Result], cancelled: threading.Event | None = None
) -> Result:
    try:
        return in_own_thread(dsn_of(database.url), transact, cancelled)
    except ServerSilent as error:
        raise _unavailable(database, error) from None


def _session(cursor: Any) -> int:
    """Return the number of the server's session."""
    cursor.execute("SELECT pg_backend_pid()")
    return int(cursor.fetchone()[0])


def _result(cursor: Any, statement: Select[Any], call: Call) -> pa.Table:
    if call.abandoned:
        raise ReadCancelled("The read was cancelled.")
    cursor.execute(_text(statement))
    return cursor.fetch_arrow_table()


def _text(statement: Any) -> str:
    """Return the statement with its values inlined: with parameters ADBC would not read by COPY."""
    dialect = postgresql.dialect(paramstyle="named")  # type: ignore[no-untyped-call]  # SQLAlchemy has not typed it
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@contextmanager
def _connected(database: Database) -> Iterator[Any]:
    """Open a connection; closing it without a commit rolls back, and drops the stage table."""
    try:
        connection = adbc_driver_postgresql.dbapi.connect(dsn_of(database.url))
    except adbc_driver_manager.Error as error:
        raise _unavailable(database, error) from None
    with connection:
        yield connection


def _unavailable(database: Database, error: Exception) -> DatabaseUnavailable:
    why = sentences(database.without_password(str(error)))
    return DatabaseUnavailable(f"{database.url} cannot be reached: {why} DATABASE_URL names it.")
