"""Many rows in and out of SQLite through ADBC, by way of a temporary exchange file.

ADBC brings a SQLite library of its own, and two SQLite libraries in one process must never have the same
file open: closing it in one drops the POSIX locks of the other, and then writers overlap and committed
rows vanish (docs/decisions/0002). So ADBC opens the exchange file only, and the connection to the
database attaches that file while ADBC has it closed.

ADBC's DB-API takes SIGINT while a statement runs, and loses some: `AdbcStatement` leaves that to Python.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import adbc_driver_sqlite
import pyarrow as pa
from adbc_driver_manager import AdbcConnection, AdbcStatement, Error, StatementOptions
from sqlalchemy import Select, Table, column, delete, table
from sqlalchemy.exc import OperationalError

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import DatabaseUnavailable
from market_pipeline.storage.engine import EXCHANGE, Database
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.rows.statements import insert_from

_ROWS = "rows_given"


def write(
    database: Database, target: Table, batch: pa.Table, slices: Sequence[Slice], *, on_conflict: bool
) -> int:
    """Delete `slices`, then insert `batch` (or update on the key); return how many rows were inserted or changed."""
    with _exchange_file() as file:
        with _adbc(file) as statement:
            statement.set_options(**{StatementOptions.INGEST_TARGET_TABLE.value: _ROWS})
            statement.bind_stream(_as_stored(batch))
            statement.execute_update()
        with database.writing(target, attached=file) as connection:
            for part in slices:
                connection.execute(delete(target).where(in_slice_of_any_coin(target, part)))
            text = insert_from(target, "sqlite", f"{EXCHANGE}.{_ROWS}", on_conflict=on_conflict)
            return connection.exec_driver_sql(text).rowcount


def fetch(database: Database, schema: pa.Schema, statements: Sequence[Select[Any]]) -> list[pa.Table]:
    """Return the result of each statement; all select the columns of `schema`."""
    given = table(_ROWS, *(column(name) for name in schema.names), schema=EXCHANGE)
    with _exchange_file() as file:
        with database.reading(attached=file) as connection:
            names = ", ".join(f'"{name}"' for name in schema.names)
            connection.exec_driver_sql(f"CREATE TABLE {EXCHANGE}.{_ROWS} ({names})")
            # ADBC infers the type of a column from the first rows, which may be NULL: insert an example first.
            marks = ", ".join("?" for _ in schema)
            example = tuple(_example(field.type) for field in schema)
            connection.exec_driver_sql(f"INSERT INTO {EXCHANGE}.{_ROWS} VALUES ({marks})", example)
            inserts = [given.insert().from_select(schema.names, statement) for statement in statements]
            try:
                counts = [connection.execute(insert).rowcount for insert in inserts]
            except OperationalError as error:
                raise _unusable(file, error.orig) from None
        with _adbc(file) as statement:
            statement.set_sql_query(f"SELECT * FROM {_ROWS} ORDER BY rowid")
            stream, _ = statement.execute_query()
            found = pa.RecordBatchReader.from_stream(stream).read_all()
    return [found.slice(start, count) for start, count in zip(accumulate(counts, initial=1), counts, strict=False)]


@contextmanager
def _exchange_file() -> Iterator[Path]:
    try:
        folder = TemporaryDirectory(prefix="market_pipeline_")
    except OSError as error:
        raise DatabaseUnavailable(f"No exchange file can be created: {error}. Can TMPDIR be written?") from None
    with folder as path:
        yield Path(path) / "exchange.db"


@contextmanager
def _adbc(file: Path) -> Iterator[AdbcStatement]:
    """Open a statement of ADBC's own SQLite on the exchange file."""
    try:
        with (
            adbc_driver_sqlite.connect(file.as_uri()) as opened,
            AdbcConnection(opened) as connection,
            AdbcStatement(connection) as statement,
        ):
            for pragma in ("journal_mode=OFF", "synchronous=OFF"):
                statement.set_sql_query(f"PRAGMA {pragma}")
                statement.execute_update()
            yield statement
    # A stream that breaks off raises Arrow's errors, or OSError.
    except (Error, pa.ArrowException, OSError) as error:
        raise _unusable(file, error) from None


def _unusable(file: Path, reason: object) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"The exchange file {file} cannot be used: {reason}. Is TMPDIR full?")


def _as_stored(batch: pa.Table) -> pa.Table:
    """Convert times to integer microseconds and days to text, as `UtcTimestamp` and SQLAlchemy store them."""
    fields = [field.with_type(_stored_type(field.type)) for field in batch.schema]
    return batch.cast(pa.schema(fields))


def _stored_type(kind: pa.DataType) -> pa.DataType:
    if pa.types.is_timestamp(kind):
        return pa.int64()
    return pa.string() if pa.types.is_date(kind) else kind


def _example(kind: pa.DataType) -> object:
    if pa.types.is_timestamp(kind) or pa.types.is_integer(kind):
        return 0
    if pa.types.is_floating(kind):
        return 0.5
    return "1970-01-01" if pa.types.is_date(kind) else ""
