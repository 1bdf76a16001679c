"""Monthly partitions of `raw_prices` on PostgreSQL, for some 1e8 rows and more.

The table is copied beside itself while the pipeline works on. A trigger repeats every later change in the copy, which
then takes the table's name in one transaction; the table that was there is kept as `raw_prices_before`. An interrupted
copy keeps its trigger and is continued by the next call, or removed by `remove_copy`.
"""

import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, timezone

from sqlalchemy import Connection, text

from market_pipeline.core.clock import utc_now
from market_pipeline.logs import get_logger
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database

logger = get_logger(__name__)

TABLE = "raw_prices"
BEFORE = "raw_prices_before"
MONTHS_AHEAD = 13

# Prices before and after the months, so that no write fails for want of a partition. A default partition would keep
# PostgreSQL from reading the months in order, newest first, until a query has its rows.
_EARLIER, _LATER = "raw_prices_earlier", "raw_prices_later"

_COPY = "raw_prices_by_month"
_TRIGGER = "raw_prices_copied"
_COLUMNS = ("symbol", "coin_id", "timestamp", "price", "source", "ingested_at")
_KEY = _COLUMNS[:3]

_IS_MONTH = re.compile(rf"{TABLE}_\d{{4}}_\d{{2}}")
_KIND = text("SELECT relkind FROM pg_class WHERE oid = to_regclass(:name)")
_MAY_CREATE = text(
    "SELECT pg_has_role(relowner, 'USAGE') AND has_schema_privilege(relnamespace, 'CREATE') "
    "FROM pg_class WHERE oid = to_regclass(:name)"
)
_PARTITIONS = text(
    "SELECT relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = to_regclass(:name)"
)
_DEPENDENTS = text(
    "SELECT DISTINCT v.oid::regclass::text FROM pg_depend d JOIN pg_rewrite r ON r.oid = d.objid "
    "JOIN pg_class v ON v.oid = r.ev_class WHERE d.refobjid = to_regclass(:name) AND v.oid <> d.refobjid"
)
_GRANTS = text(
    "SELECT privilege_type, is_grantable, CASE grantee WHEN 0 THEN 'PUBLIC' ELSE grantee::regrole::text END "
    "FROM pg_class, aclexplode(relacl) WHERE oid = to_regclass(:name) AND grantee <> relowner"
)
# Those that store what a price was before it changed, and whatever an administrator has added.
_TRIGGERS = text(
    "SELECT pg_get_triggerdef(oid) FROM pg_trigger "
    f"WHERE tgrelid = to_regclass('{TABLE}') AND NOT tgisinternal AND tgname <> '{_TRIGGER}'"
)
_COPY_BEGUN = text(
    "SELECT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(:name) AND tgname = :trigger) "
    "AND to_regclass(:copy) IS NOT NULL"
)
_SAME_COLUMNS = text(
    "SELECT count(DISTINCT columns) = 1 FROM (SELECT array_agg(ROW(attname, atttypid, atttypmod, attnotnull)::text "
    "ORDER BY attname) AS columns FROM pg_attribute WHERE attrelid IN (to_regclass(:name), to_regclass(:copy)) "
    "AND attnum > 0 AND NOT attisdropped GROUP BY attrelid) AS tables"
)
# The next coin after one in the order of the key: an index look-up, where DISTINCT would read the whole table.
_NEXT_COIN = text(
    f"SELECT symbol, coin_id FROM {TABLE} WHERE (symbol, coin_id) > (:symbol, :coin_id) "
    "ORDER BY symbol, coin_id LIMIT 1"
)
_SPAN = text(f"SELECT min(timestamp), max(timestamp) FROM {TABLE} WHERE symbol = :symbol AND coin_id = :coin_id")
_OLDEST = text(f"SELECT min(timestamp) FROM {TABLE}")
_CHUNK = "symbol = :symbol AND coin_id = :coin_id AND timestamp >= :start AND timestamp < :end"

CONTINUE = (
    "Until the copy is complete, each price is stored twice. If it was interrupted, `market-pipeline partition-prices` "
    "continues it, and `market-pipeline partition-prices --cancel` removes it."
)

# How many rows were copied so far.
Report = Callable[[int], None]


def is_partitioned(connection: Connection) -> bool:
    """Return whether `raw_prices` has partitions."""
    return connection.dialect.name == "postgresql" and connection.execute(_KIND, {"name": TABLE}).scalar() == "p"


def partition_by_month(database: Database, report: Report = lambda rows: None) -> bool:
    """Give `raw_prices` a partition for each month; return False, and add what months lack, if it has them already.

    Reads are never blocked for longer than the last transaction takes, writes for as long as a year of one coin is
    copied. After an interruption the next call continues; until then each write is stored twice. Raises SchemaMismatch
    where views use the table, because they would go on reading the old one.
    """
    with database.writing() as connection:
        if is_partitioned(connection):
            add_months(connection)
            return False
        _require_no_views(database, connection)
        if not (copy_begun(connection) and _has_columns_of_table(connection)):
            _prepare(connection)
    copied = 0
    for coin in _coins(database):
        for start, end in _years(database, coin):
            with database.writing() as connection:
                copied += _copy(connection, {**coin, "start": start, "end": end})
            report(copied)
    with database.writing() as connection:
        _swap(connection)
    with database.writing() as connection:
        connection.execute(text(f"ANALYZE {TABLE}"))
    return True


def copy_begun(connection: Connection) -> bool:
    """Return whether a copy of `raw_prices` is in progress or was interrupted: every write goes to it as well."""
    names = {"name": TABLE, "trigger": _TRIGGER, "copy": _COPY}
    return connection.dialect.name == "postgresql" and bool(connection.execute(_COPY_BEGUN, names).scalar())


def remove_copy(database: Database) -> bool:
    """Remove what an interrupted `partition_by_month` left; return False if there is nothing of the kind."""
    with database.writing() as connection:
        found = copy_begun(connection)
        _remove_copy(connection)
    return found


def _remove_copy(connection: Connection) -> None:
    _run(
        connection,
        f"DROP TRIGGER IF EXISTS {_TRIGGER} ON {TABLE}",
        f"DROP FUNCTION IF EXISTS {_TRIGGER}",
        f"DROP TABLE IF EXISTS {_COPY}",
    )


def add_months(connection: Connection) -> None:
    """Create the partitions of the next `MONTHS_AHEAD` months that do not exist, with the prices that waited for them.

    Does nothing where `raw_prices` has no partitions, nor for a role that may not create them: prices wait in the last
    one until the owner migrates.
    """
    if copy_begun(connection):
        logger.warning("A copy of %s has begun. %s", TABLE, CONTINUE)
    if not is_partitioned(connection) or not connection.execute(_MAY_CREATE, {"name": TABLE}).scalar_one():
        return
    if _last_month() > (present := _newest_month(connection)):
        waiting = f"{_LATER}_than_months"
        _run(connection, f"ALTER TABLE {TABLE} DETACH PARTITION {_LATER}", f"ALTER TABLE {_LATER} RENAME TO {waiting}")
        _create_months(connection, TABLE, present + 1)
        _run(connection, f"INSERT INTO {TABLE} SELECT * FROM {waiting}", f"DROP TABLE {waiting}")


def _require_no_views(database: Database, connection: Connection) -> None:
    if views := list(connection.execute(_DEPENDENTS, {"name": TABLE}).scalars()):
        raise SchemaMismatch(
            f"{database.url}: {', '.join(sorted(views))} would go on reading the table without partitions",
            "drop these views, partition the table, and create them again",
        )


def _prepare(connection: Connection) -> None:
    """Create the empty copy and the trigger that repeats every change in it."""
    _remove_copy(connection)
    values = ", ".join(f"new.{name}" for name in _COLUMNS)
    facts = ", ".join(f"{name} = excluded.{name}" for name in _COLUMNS[3:])
    same = " AND ".join(f"{name} = old.{name}" for name in _KEY)
    _run(
        connection,
        f"CREATE TABLE {_COPY} (LIKE {TABLE} INCLUDING CONSTRAINTS INCLUDING DEFAULTS INCLUDING COMMENTS, "
        f"CONSTRAINT {_COPY}_pkey PRIMARY KEY ({', '.join(_KEY)})) PARTITION BY RANGE (timestamp)",
        f"CREATE FUNCTION {_TRIGGER}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF tg_op <> 'INSERT' THEN DELETE FROM {_COPY} WHERE {same}; END IF; "
        f"IF tg_op <> 'DELETE' THEN INSERT INTO {_COPY} ({', '.join(_COLUMNS)}) VALUES ({values}) "
        f"ON CONFLICT ({', '.join(_KEY)}) DO UPDATE SET {facts}; END IF; RETURN NULL; END $$",
        f"CREATE TRIGGER {_TRIGGER} AFTER INSERT OR UPDATE OR DELETE ON {TABLE} "
        f"FOR EACH ROW EXECUTE FUNCTION {_TRIGGER}()",
    )
    oldest = connection.execute(_OLDEST).scalar()
    first = _month_number(oldest.astimezone(timezone.utc).date() if oldest else utc_now().date())
    _create_partition(connection, _COPY, _EARLIER, "MINVALUE", _bound(first))
    _create_months(connection, _COPY, first)


def _has_columns_of_table(connection: Connection) -> bool:
    """Return whether the copy has the columns of `raw_prices`: a migration may have changed those since."""
    return bool(connection.execute(_SAME_COLUMNS, {"name": TABLE, "copy": _COPY}).scalar())


def _coins(database: Database) -> Iterator[dict[str, str]]:
    coin = {"symbol": "", "coin_id": ""}
    while True:
        with database.reading() as connection:
            found = connection.execute(_NEXT_COIN, coin).first()
        if found is None:
            return
        coin = {"symbol": found.symbol, "coin_id": found.coin_id}
        yield coin


def _years(database: Database, coin: dict[str, str]) -> Iterator[tuple[datetime, datetime]]:
    with database.reading() as connection:
        first, last = connection.execute(_SPAN, coin).one()
    for year in range(first.year, last.year + 1) if first else ():
        yield datetime(year, 1, 1, tzinfo=timezone.utc), datetime(year + 1, 1, 1, tzinfo=timezone.utc)


def _copy(connection: Connection, chunk: dict[str, object]) -> int:
    """Copy a year of a coin, unless it is there; return its rows.

    Writers wait meanwhile: a row deleted now would come back.
    """
    rows, copied = _counts(connection, chunk)
    if rows == copied:
        # The trigger keeps the keys of the copy among those of the table, so equal counts are equal rows.
        return rows
    names = ", ".join(_COLUMNS)
    _run(connection, f"LOCK TABLE {TABLE} IN SHARE MODE")
    connection.execute(
        text(f"INSERT INTO {_COPY} ({names}) SELECT {names} FROM {TABLE} WHERE {_CHUNK} ON CONFLICT DO NOTHING"), chunk
    )
    rows, copied = _counts(connection, chunk)
    if rows != copied:
        raise RuntimeError(f"{copied} of {rows} rows of {chunk['symbol']} were copied; nothing was replaced")
    return rows


def _counts(connection: Connection, chunk: dict[str, object]) -> tuple[int, int]:
    """Return how many rows of the chunk the table has, and the copy, in one snapshot."""
    count = f"(SELECT count(*) FROM {{}} WHERE {_CHUNK})"
    found = connection.execute(text(f"SELECT {count.format(TABLE)}, {count.format(_COPY)}"), chunk).one()
    return int(found[0]), int(found[1])


def _swap(connection: Connection) -> None:
    """Let the copy take the table's name, with its grants and triggers."""
    triggers = connection.execute(_TRIGGERS).scalars().all()
    _run(
        connection,
        f"LOCK TABLE {TABLE} IN ACCESS EXCLUSIVE MODE",
        f"DROP TRIGGER {_TRIGGER} ON {TABLE}",
        f"DROP FUNCTION {_TRIGGER}",
    )
    for privilege, grantable, role in connection.execute(_GRANTS, {"name": TABLE}).all():
        option = " WITH GRANT OPTION" if grantable else ""
        _run(connection, f"GRANT {privilege} ON {_COPY} TO {role}{option}")
    _run(
        connection,
        f"ALTER TABLE {TABLE} RENAME TO {BEFORE}",
        f"ALTER TABLE {BEFORE} RENAME CONSTRAINT {TABLE}_pkey TO {BEFORE}_pkey",
        f"ALTER TABLE {_COPY} RENAME TO {TABLE}",
        f"ALTER TABLE {TABLE} RENAME CONSTRAINT {_COPY}_pkey TO {TABLE}_pkey",
        *triggers,
    )


def _create_months(connection: Connection, table: str, first: int) -> None:
    """Create the months from number `first` on, and a partition for all that comes after them."""
    last = _last_month()
    for number in range(first, last + 1):
        _create_partition(connection, table, f"{TABLE}_{_month(number):%Y_%m}", _bound(number), _bound(number + 1))
    _create_partition(connection, table, _LATER, _bound(last + 1), "MAXVALUE")


def _create_partition(connection: Connection, table: str, name: str, start: str, end: str) -> None:
    _run(connection, f"CREATE TABLE {name} PARTITION OF {table} FOR VALUES FROM ({start}) TO ({end})")


def _newest_month(connection: Connection) -> int:
    names = connection.execute(_PARTITIONS, {"name": TABLE}).scalars()
    return max(_month_number(date(int(name[-7:-3]), int(name[-2:]), 1)) for name in names if _IS_MONTH.fullmatch(name))


def _last_month() -> int:
    return _month_number(utc_now().date()) + MONTHS_AHEAD


def _month_number(day: date) -> int:
    return 12 * day.year + day.month - 1


def _month(number: int) -> date:
    return date(number // 12, number % 12 + 1, 1)


def _bound(number: int) -> str:
    return f"'{_month(number)} 00:00+00'"


def _run(connection: Connection, *statements: str) -> None:
    for statement in statements:
        connection.exec_driver_sql(statement)
