"""Copy all tables from one database to another, SQLite or PostgreSQL, and prove that both hold the same rows.

The source is only read. A part is the rows of a symbol in one table (prices: of one year), or a whole table without
symbols. A part that is equal in both is left alone, any other is replaced in one transaction: a copy that was
interrupted continues where it stopped, and what has changed in the source since is copied again. A table of the target
names its source while the copy is not complete: nothing is ever copied over other rows.
"""

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Connection, MetaData, Row, Table, Text, delete, func, select, text
from sqlalchemy import inspect as inspector

from market_pipeline.core.slices import Slice
from market_pipeline.storage.db_errors import StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import in_slice_of_any_coin
from market_pipeline.storage.schema.migrate import check_schema, current_schema, migrate
from market_pipeline.storage.schema.tables import metadata, raw_prices

if TYPE_CHECKING:
    import pyarrow as pa

_ROWS_AT_ONCE = 5_000
_MARKER = Table("market_pipeline_copy", MetaData(), Column("source", Text, primary_key=True))


class NotCopied(StorageError):
    """The target is not the place for this copy."""


@dataclass(frozen=True)
class Part:
    """`rows` rows of `table`: those of a `symbol`, of prices only those of the days `span`."""

    table: Table
    symbol: str | None
    rows: int
    span: Slice | None = None

    def __str__(self) -> str:
        year = f" {self.span.first.year}" if self.span else ""
        return f"{self.table.name} {self.symbol}{year}" if self.symbol else self.table.name

    @property
    def condition(self) -> list[ColumnElement[bool]]:
        """What selects its rows."""
        if self.span is not None:
            return [in_slice_of_any_coin(self.table, self.span)]
        return [] if self.symbol is None else [self.table.c.symbol == self.symbol]


@dataclass(frozen=True)
class Fingerprint:
    """How many rows a part has, and a digest of all their values in the order of their keys."""

    rows: int
    digest: str


@dataclass(frozen=True)
class Comparison:
    """The rows of `part` in both databases after the copy."""

    part: Part
    source: Fingerprint
    target: Fingerprint

    @property
    def equal(self) -> bool:
        """Whether both hold the same rows."""
        return self.source == self.target


def parts_of(database: Database) -> list[Part]:
    """Return all parts of `database`. Raises SchemaMismatch unless its tables are of this version."""
    check_schema(database)
    with database.reading() as connection:
        return [part for table in metadata.sorted_tables for part in _parts_of(connection, table)]


def prepare(source: Database, target: Database, parts: Sequence[Part]) -> None:
    """Create the tables of `target`, note the source there, and delete what is in none of `parts` of the source.

    Raises NotCopied if the target is the source, or has rows that no interrupted copy of this source left.
    """
    if source.url == target.url:
        raise NotCopied("Both URLs name the same database. Name another one as the target.")
    migrate(target)
    name, there = str(source.url), parts_of(target)
    with target.reading() as connection:
        begun = inspector(connection).has_table(_MARKER.name, schema=current_schema(connection))
        sources = list(connection.execute(select(_MARKER.c.source)).scalars()) if begun else []
    used = next((part for part in there if part.rows), None)
    if used is not None and name not in sources:
        if sources:
            raise NotCopied(
                f"{target.url} is not empty: a copy of {sources[0]} was begun there. Name that source to continue, or "
                "an empty database."
            )
        raise NotCopied(
            f"{target.url} is not empty: {used.table.name} has rows already. If they are the complete copy of an "
            "earlier run, set DATABASE_URL to it; `market-pipeline migrate-db --partitions` then copies Dagster's "
            "partitions. Else name an empty database."
        )
    with target.writing() as connection:
        if name not in sources:
            _MARKER.create(connection, checkfirst=True)
            connection.execute(_MARKER.insert().values(source=name))
        # An earlier try may have copied a symbol that the source no longer has.
        kept = {str(part) for part in parts}
        for gone in (part for part in there if str(part) not in kept):
            connection.execute(delete(gone.table).where(*gone.condition))


def _parts_of(connection: Connection, table: Table) -> Iterator[Part]:
    count = func.count()
    if "symbol" not in table.c:
        yield Part(table, None, connection.execute(select(count).select_from(table)).scalar_one())
        return
    symbol = table.c.symbol
    for name, rows in connection.execute(select(symbol, count).group_by(symbol).order_by(symbol)).all():
        if table is not raw_prices:
            yield Part(table, name, rows)
            continue
        ends = select(func.min(table.c.timestamp), func.max(table.c.timestamp)).where(symbol == name)
        first, last = connection.execute(ends).one()
        for year in range(first.year, last.year + 1):
            span = Slice(name, date(year, 1, 1), date(year, 12, 31))
            inside = select(count).select_from(table).where(in_slice_of_any_coin(table, span))
            yield Part(table, name, connection.execute(inside).scalar_one(), span)


def copy_part(source: Database, target: Database, part: Part) -> Comparison:
    """Make `part` in `target` equal to that in `source`, and compare them."""
    wanted = fingerprint(source, part)
    found = fingerprint(target, part)
    if found != wanted:
        _replace(source, target, part)
        found = fingerprint(target, part)
    return Comparison(part, wanted, found)


def finish(target: Database) -> None:
    """Let numbered rows of `target` continue after the copied ones, and forget that a copy was begun."""
    with target.writing() as connection:
        for table in metadata.sorted_tables if target.dialect == "postgresql" else []:
            if (number := table.autoincrement_column) is not None:
                connection.execute(text(
                    f"SELECT setval(pg_get_serial_sequence('{table.name}', '{number.name}'), max({number.name})) "
                    f"FROM {table.name} HAVING max({number.name}) > 0"
                ))
        _MARKER.drop(connection)


def fingerprint(database: Database, part: Part) -> Fingerprint:
    """Read all rows of `part`; databases with the same rows give the same fingerprint, whatever their kind."""
    digest = hashlib.sha256()
    if part.span is not None:
        found = _arrow(database, part)
        for column in found.columns:
            values = column.to_numpy()
            digest.update(values.tobytes() if values.dtype.kind in "fiM" else "\0".join(values).encode())
        return Fingerprint(len(found), digest.hexdigest()[:16])
    count = 0
    with database.reading() as connection:
        for rows in _rows(connection, part):
            count += len(rows)
            for row in rows:
                digest.update(repr([_canonical(value) for value in row]).encode())
    return Fingerprint(count, digest.hexdigest()[:16])


def _canonical(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, sort_keys=True)
    # Times are UTC in both databases, and print alike.
    return value.isoformat() if hasattr(value, "isoformat") else value


def _replace(source: Database, target: Database, part: Part) -> None:
    if part.span is not None:
        from market_pipeline.storage.rows import bulk

        prices = bulk.columns_of_arrow(_arrow(source, part))
        bulk.write(target, part.table, prices, [part.span], on_conflict=False)
        return
    with source.reading() as reading, target.writing(part.table) as writing:
        writing.execute(delete(part.table).where(*part.condition))
        for rows in _rows(reading, part):
            writing.execute(part.table.insert(), [dict(row._mapping) for row in rows])


def _rows(connection: Connection, part: Part) -> Iterator[Sequence[Row[Any]]]:
    """Yield the rows of `part` in the order of their keys."""
    wanted = select(part.table).where(*part.condition).order_by(*part.table.primary_key)
    streaming = connection.execution_options(stream_results=True, max_row_buffer=_ROWS_AT_ONCE)
    yield from streaming.execute(wanted).partitions(_ROWS_AT_ONCE)


def _arrow(database: Database, part: Part) -> "pa.Table":
    """Return the rows of a part of prices in the order of their keys; its types are those of every database."""
    from market_pipeline.storage.rows import bulk

    names = [column.name for column in part.table.columns]
    columns = [column for column in part.table.columns if column.name != "symbol"]
    wanted = select(*columns).where(*part.condition).order_by(*part.table.primary_key)
    return bulk.read_table(database, part.table, names, [wanted], [str(part.symbol)])
