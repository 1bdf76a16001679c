"""The bulk path: Arrow through ADBC. Writing goes into a temporary stage table and from there with
one statement into the table, in the same transaction; reading comes back as DataFrames.

Only large writes and readers of DataFrames come here, and only then Arrow and pandas are imported.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import URL, Column, ColumnElement, Date, Double, Select, Table, delete, func, type_coerce
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import BigInteger

from market_pipeline.slices import Slice
from market_pipeline.storage.columns import Columns
from market_pipeline.storage.engine import BUSY_SECONDS, Database
from market_pipeline.storage.errors import DatabaseUnavailable, WriteFailed
from market_pipeline.storage.records import NOT_A_TIME
from market_pipeline.storage.types import UtcTimestamp
from market_pipeline.storage.where import in_slice

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_STAGE = "market_pipeline_stage"


def write(database: Database, table: Table, columns: Columns, slices: Sequence[Slice], *, on_conflict: bool) -> int:
    """Delete `slices`, then insert `columns` (or update on the key); rows inserted or changed."""
    import adbc_driver_manager

    rows = _arrow_table(table, columns, database.dialect)
    try:
        with _connect(database) as connection, connection.cursor() as cursor:
            cursor.adbc_ingest(_STAGE, rows, mode="create", temporary=True)
            if database.dialect == "sqlite":
                cursor.execute("BEGIN IMMEDIATE")
            for part in slices:
                cursor.execute(_text(database, delete(table).where(in_slice(table, part))))
            cursor.execute(_from_stage(table, database.dialect, on_conflict))
            return _finish(database, connection, cursor)
    except adbc_driver_manager.Error as error:
        raise WriteFailed(f"{table.name}: the database refused the rows: {error}. Nothing was written.") from error


def _finish(database: Database, connection: Any, cursor: Any) -> int:
    if database.dialect == "sqlite":
        cursor.execute("SELECT changes()")
        written = cursor.fetchone()[0]
        cursor.execute("COMMIT")
    else:
        written = cursor.rowcount
        connection.commit()
    return int(written)


def fetch(database: Database, statements: Sequence[Select[Any]]) -> list[pa.Table]:
    """The result of each statement."""
    with _connect(database) as connection, connection.cursor() as cursor:
        results = []
        for statement in statements:
            cursor.execute(_text(database, statement))
            results.append(cursor.fetch_arrow_table())
        return results


def readable(column: Column[Any], dialect: str) -> ColumnElement[Any]:
    """A column as ADBC can read it.

    Its SQLite driver fixes a column's type by the first rows, so NULL is sent as a value of the type:
    infinity, which no column may hold, and the number that NumPy keeps for "not a time".
    """
    if dialect != "sqlite":
        return column
    plain = type_coerce(column, BigInteger) if isinstance(column.type, UtcTimestamp) else column
    if not column.nullable:
        return plain.label(column.name)
    missing = {UtcTimestamp: NOT_A_TIME, Double: float("inf")}[type(column.type)]
    return func.coalesce(plain, missing).label(column.name)


def typed_frame(table: Table, names: Sequence[str], parts: Sequence[pa.Table]) -> pd.DataFrame:
    """One DataFrame with the dtypes of `table`, whatever the driver made of the rows."""
    import pandas as pd
    import pyarrow as pa

    schema = pa.schema([(name, _arrow_type(table.columns[name], "postgresql")) for name in names])
    filled = [_cast(part, schema) for part in parts if part.num_rows]
    frame: pd.DataFrame = (pa.concat_tables(filled) if filled else schema.empty_table()).to_pandas()
    for name in names:
        if isinstance(table.columns[name].type, Double):
            frame[name] = frame[name].replace(np.inf, np.nan)
    return frame


def _cast(part: pa.Table, schema: pa.Schema) -> pa.Table:
    """Integers that are times become times without touching the numbers."""
    import pyarrow as pa

    columns = []
    for column, field in zip(part.columns, schema, strict=True):
        if pa.types.is_timestamp(field.type) and pa.types.is_integer(column.type):
            values = column.to_numpy()
            column = pa.array(values.view("datetime64[us]"), type=pa.timestamp("us")).cast(field.type)
        columns.append(column.cast(field.type))
    return pa.table(columns, schema=schema)


def _arrow_type(column: Column[Any], dialect: str) -> pa.DataType:
    import pyarrow as pa

    if isinstance(column.type, UtcTimestamp):
        return pa.int64() if dialect == "sqlite" else pa.timestamp("us", tz="UTC")
    if isinstance(column.type, Double):
        return pa.float64()
    if isinstance(column.type, Date):
        return pa.string() if dialect == "sqlite" else pa.date32()
    return pa.string()


def _arrow_table(table: Table, columns: Columns, dialect: str) -> pa.Table:
    import pyarrow as pa

    arrays = {}
    for column in table.columns:
        values, kind = columns[column.name], _arrow_type(column, dialect)
        if isinstance(column.type, UtcTimestamp):
            times = pa.array(values.astype("datetime64[us]"), type=pa.timestamp("us"))
            arrays[column.name] = times.cast(pa.int64()) if dialect == "sqlite" else times.cast(kind)
        elif isinstance(column.type, Date) and dialect == "sqlite":
            arrays[column.name] = pa.array([day.isoformat() for day in values], type=kind)
        else:
            arrays[column.name] = pa.array(values, type=kind, from_pandas=bool(column.nullable))
    return pa.table(arrays)


def _from_stage(table: Table, dialect: str, on_conflict: bool) -> str:
    names = ", ".join(column.name for column in table.columns)
    # Without WHERE, SQLite takes ON for a join condition.
    text = f"INSERT INTO {table.name} ({names}) SELECT {names} FROM {_STAGE} WHERE true"
    if not on_conflict:
        return text
    keys = [key.name for key in table.primary_key]
    facts = ", ".join(f"{column.name} = excluded.{column.name}" for column in table.columns if column.name not in keys)
    differs = "IS NOT" if dialect == "sqlite" else "IS DISTINCT FROM"
    changed = " OR ".join(f"{table.name}.{name} {differs} excluded.{name}" for name in table.info["decides_change"])
    return f"{text} ON CONFLICT ({', '.join(keys)}) DO UPDATE SET {facts} WHERE {changed}"


def _text(database: Database, statement: Any) -> str:
    """The statement with its values written out: ADBC reads fastest without parameters."""
    module = sqlite if database.dialect == "sqlite" else postgresql
    dialect = module.dialect(paramstyle="named")  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"literal_binds": True}))


@contextmanager
def _connect(database: Database) -> Iterator[Any]:
    """An ADBC connection; closing it without a commit rolls back and drops the stage table."""
    import adbc_driver_manager

    try:
        connection = _open(database.dialect, database.url)
    except adbc_driver_manager.Error as error:
        raise DatabaseUnavailable(f"{database.url} cannot be reached: {error}. Check DATABASE_URL.") from None
    with connection:
        yield connection


def _open(dialect: str, url: URL) -> Any:
    if dialect == "sqlite":
        import adbc_driver_sqlite.dbapi

        # Transactions are begun by hand, because BEGIN must be IMMEDIATE.
        connection = adbc_driver_sqlite.dbapi.connect(Path(url.database or "").as_uri(), autocommit=True)
        with connection.cursor() as cursor:
            cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
            cursor.fetchall()
        return connection
    import adbc_driver_postgresql.dbapi

    return adbc_driver_postgresql.dbapi.connect(url.set(drivername="postgresql").render_as_string(hide_password=False))
