"""Anomalies of many symbols, newest or most important first, a page at a time; one of them, and an event's members.

By time, newest first, then by symbol and kind, each symbol is a range of the table's key; where a filter has no index,
at most `MOST_SCANNED` rows are scanned for one page. By importance all rows of the time filter are scanned.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, literal, or_, select
from sqlalchemy import Row as SqlRow

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.core.clock import from_microseconds, to_microseconds
from market_pipeline.storage.engine import Database
from market_pipeline.storage.rows.filters import is_alarm, of_symbol, of_symbols
from market_pipeline.storage.rows.read import readable
from market_pipeline.storage.schema.tables import anomaly_marks, price_anomalies

MOST_SCANNED = 20_000

# What an answer has of an anomaly: the columns of its table, and those of its mark, which are None without one.
MARK_COLUMNS = tuple(anomaly_marks.c[name] for name in ("mark", "note", "marked_at"))
COLUMNS = (*price_anomalies.columns, *MARK_COLUMNS)
# The values of `COLUMNS`, by place and by name, the times as microseconds since 1970 UTC.
Row = SqlRow[Any]
# As a filter: rows without a mark.
UNMARKED = "none"

_KEY = price_anomalies.c
_MARKS = anomaly_marks.c
_ORDER = _KEY.timestamp.desc(), _KEY.kind


class Cursor(NamedTuple):
    """The position in the order of a row with this key; the time is aware UTC."""

    timestamp: datetime
    symbol: str
    kind: str


class ImportanceCursor(NamedTuple):
    """The position in the order by importance of a row with this key; rows without one come last."""

    importance: float | None
    timestamp: datetime
    symbol: str
    kind: str


@dataclass(frozen=True)
class AnomalyFilter:
    """Which rows to return: from `since` on, before `until` (aware UTC) and with these values, where they are not None.

    `mark` may be `UNMARKED`. `alarms_only` leaves out rows that another row represents. `concerning` selects the rows
    of a symbol and the market moves that it is a member of, which may be rows of another symbol.
    """

    since: datetime | None = None
    until: datetime | None = None
    kind: str | None = None
    severity: str | None = None
    scope: str | None = None
    mark: str | None = None
    alarms_only: bool = False
    concerning: str | None = None

    @property
    def times(self) -> list[ColumnElement[bool]]:
        """The conditions on the time."""
        since = [] if self.since is None else [_KEY.timestamp >= self.since]
        return since if self.until is None else [*since, _KEY.timestamp < self.until]

    @property
    def conditions(self) -> list[ColumnElement[bool]]:
        """The conditions except for the time."""
        wanted = [(_KEY.kind, self.kind), (_KEY.severity, self.severity), (_KEY.scope, self.scope)]
        conditions = [column == value for column, value in wanted if value is not None]
        if self.mark is not None:
            conditions.append(_MARKS.mark.is_(None) if self.mark == UNMARKED else _MARKS.mark == self.mark)
        if self.concerning is not None:
            member = (literal(",") + _KEY.members + ",").contains(f",{self.concerning},", autoescape=True)
            conditions.append(or_(_KEY.symbol == self.concerning, and_(_KEY.kind == Kind.MARKET_MOVE.value, member)))
        return [*conditions, is_alarm()] if self.alarms_only else conditions


@dataclass(frozen=True)
class Page:
    """Rows in order, and the cursor after which the next page begins, None after the last one.

    A page of rare rows may be short, or empty, and still have a next one.
    """

    rows: list[Row]
    end: Cursor | None


def anomalies_page(
    database: Database, symbols: Sequence[str], wanted: AnomalyFilter, after: Cursor | None, limit: int
) -> Page:
    """Return at most `limit` of the `wanted` rows of `symbols` that come after the cursor `after`."""
    found: list[Row] = []
    with database.reading() as connection:
        stop = horizon = _horizon(database, connection, symbols, wanted, after) if wanted.conditions else None
        for symbol in symbols:
            where = [_of(database, symbol, wanted, after), *wanted.conditions]
            if stop is not None:
                where.append(_not_after(stop, symbol))
            statement = _rows(database.dialect).where(*where).order_by(*_ORDER).limit(limit + 1)
            more = connection.execute(statement).all()
            found = sorted([*found, *more], key=_order)[: limit + 1]
            # Rows of other symbols beyond this one are not on the page.
            stop = _cursor(found[limit]) if len(found) > limit else horizon
    if len(found) > limit:
        return Page(found[:limit], _cursor(found[limit - 1]))
    return Page(found, horizon)


def important_page(
    database: Database, symbols: Sequence[str], wanted: AnomalyFilter, after: ImportanceCursor | None, limit: int
) -> tuple[list[Row], ImportanceCursor | None]:
    """Return at most `limit` of the `wanted` rows of `symbols`, the most important first, and where the next begins.

    Rows of equal importance are in the order of time.
    """
    where = [of_symbols(database, price_anomalies, symbols), *wanted.conditions, *wanted.times]
    if after is not None:
        where.append(_less_important(after))
    order = _KEY.importance.desc().nulls_last(), _KEY.timestamp.desc(), _KEY.symbol, _KEY.kind
    with database.reading() as connection:
        statement = _rows(database.dialect).where(*where).order_by(*order).limit(limit + 1)
        rows = list(connection.execute(statement).all())
    if len(rows) <= limit:
        return rows, None
    last = rows[limit - 1]
    return rows[:limit], ImportanceCursor(last.importance, *_cursor(last))


def _less_important(after: ImportanceCursor) -> ColumnElement[bool]:
    same_time = or_(_KEY.symbol > after.symbol, and_(_KEY.symbol == after.symbol, _KEY.kind > after.kind))
    later = or_(_KEY.timestamp < after.timestamp, and_(_KEY.timestamp == after.timestamp, same_time))
    if after.importance is None:
        return and_(_KEY.importance.is_(None), later)
    equal = and_(_KEY.importance == after.importance, later)
    return or_(_KEY.importance < after.importance, _KEY.importance.is_(None), equal)


def anomaly(database: Database, id_: str) -> Row | None:
    """Return the row with this id; None if there is none, or its symbol is configured for another coin."""
    with database.reading() as connection:
        row = connection.execute(_rows(database.dialect).where(_KEY.id == id_)).one_or_none()
    return row if row is not None and _is_present(database, row) else None


def event_members(database: Database, id_: str) -> list[Row]:
    """Return the rows that the row with this id represents, in order; an event lasts an hour, so they are few."""
    statement = _rows(database.dialect).where(_KEY.event_id == id_, _KEY.id != id_)
    with database.reading() as connection:
        rows = connection.execute(statement).all()
    return sorted((row for row in rows if _is_present(database, row)), key=_order)


def _is_present(database: Database, row: Row) -> bool:
    coin_id: str = row.coin_id
    return coin_id == database.coin_id(row.symbol)


@cache
def _rows(dialect: str) -> Select[Any]:
    its_mark = and_(_MARKS.anomaly_id == _KEY.id, _MARKS.coin_id == _KEY.coin_id)
    columns = (readable(column, dialect) for column in COLUMNS)
    return select(*columns).select_from(price_anomalies.outerjoin(anomaly_marks, its_mark))


def _horizon(
    database: Database, connection: Connection, symbols: Sequence[str], wanted: AnomalyFilter, after: Cursor | None
) -> Cursor | None:
    """Return how far all `symbols` can be scanned, each by its share; None if that is to the end."""
    share = MOST_SCANNED // len(symbols) + 1
    cursors = []
    for symbol in symbols:
        key = select(_KEY.timestamp, _KEY.symbol, _KEY.kind).where(_of(database, symbol, wanted, after))
        # Backwards along the key, without sorting; rows of the same time may come in another order than pages.
        backwards = key.order_by(_KEY.timestamp.desc(), _KEY.kind.desc())
        row = connection.execute(backwards.offset(share - 1).limit(1)).first()
        if row is not None:
            cursors.append(Cursor(*row))
    return min(cursors, key=lambda cursor: (-to_microseconds(cursor.timestamp), *cursor[1:]), default=None)


def _of(database: Database, symbol: str, wanted: AnomalyFilter, after: Cursor | None) -> ColumnElement[bool]:
    """Select the range of the key that belongs to `symbol`, in the time that is wanted and after the cursor."""
    here = and_(of_symbol(database, price_anomalies, symbol), *wanted.times)
    if after is None:
        return here
    if symbol == after.symbol:
        # The first half alone bounds the range.
        behind = or_(_KEY.timestamp < after.timestamp, _KEY.kind > after.kind)
        return and_(here, _KEY.timestamp <= after.timestamp, behind)
    later = _KEY.timestamp <= after.timestamp if symbol > after.symbol else _KEY.timestamp < after.timestamp
    return and_(here, later)


def _not_after(stop: Cursor, symbol: str) -> ColumnElement[bool]:
    """Select the rows of `symbol` up to the cursor, that one included."""
    if symbol == stop.symbol:
        before = or_(_KEY.timestamp > stop.timestamp, _KEY.kind <= stop.kind)
        return and_(_KEY.timestamp >= stop.timestamp, before)
    return _KEY.timestamp >= stop.timestamp if symbol < stop.symbol else _KEY.timestamp > stop.timestamp


def _cursor(row: Row) -> Cursor:
    return Cursor(from_microseconds(row.timestamp), row.symbol, row.kind)


def _order(row: Row) -> tuple[int, str, str]:
    return -row.timestamp, row.symbol, row.kind
