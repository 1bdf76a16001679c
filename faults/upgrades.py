"""Upgrades: a database of every earlier revision, filled, brought to this version, one step back and up again.

Also two processes that upgrade at once, and an earlier version that is still running when a later one upgrades.
"""

import io
import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta, timezone
from hashlib import md5
from pathlib import Path
from typing import Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import Column, Connection, MetaData, Table, create_engine, select, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.pool import NullPool

from benchmarks.figures import Figure
from faults.options import Options
from faults.stores import postgresql, scratch
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.storage.db_errors import SchemaMismatch
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import REVISION, VERSION_TABLE, alembic_config, check_schema, migrate

_START = datetime(2026, 3, 1, tzinfo=timezone.utc)
_ROWS = 40
_SYMBOLS = ("BTC", "ETH", "SOL")
# What constraints and migrations expect of a column; any other is filled by its type.
_VALUES: Mapping[str, Sequence[Any]] = {
    "symbol": _SYMBOLS, "coin_id": ("bitcoin", "ethereum", "solana"), "source": ("simple_price", "market_chart"),
    "direction": ("up", "down"), "severity": ("watch", "alert", "critical"), "scope": ("market", "mixed"),
    "confirmation": (None, "persisted"), "kind": ("jump", "large_move"), "detector": ("ewma", "two_point"),
    "mark": ("real", "noise"), "calibration": ("own",), "detector_version": ("4",), "cadence": (1,),
    "account": tuple(f"demo@api.coingecko.com#{n}" for n in range(_ROWS)), "likely_id": (None,),
    "document": (Calibration(_START, (1.0,) * 24).to_json(),),
}
# Kept from the first revision to the last.
_KEPT = ("symbol", "timestamp", "price", "source", "ingested_at")
_TIMES = ("timestamp", "as_of", "hour", "gap_start", "gap_end", "episode_first", "episode_peak", "episode_last")
# The version before daily peaks: it ran against revision 0012.
_EARLIER = "d30dc2f"
_EARLIER_WRITER = """
import sys
from datetime import datetime, timedelta, timezone
from sqlalchemy import make_url
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline.storage.schema.tables import raw_prices
from market_pipeline.storage.rows.records import columns_of
from market_pipeline.storage.rows.write import upsert
database, now = Database(make_url(sys.argv[1])), datetime(2026, 6, 1, tzinfo=timezone.utc)
for number in range(100_000):
    try:
        check_schema(database)
        upsert(database, raw_prices, columns_of(raw_prices, [{
            "symbol": "BTC", "coin_id": "bitcoin", "timestamp": now + timedelta(seconds=number), "price": 1.0,
            "source": "simple_price", "ingested_at": now,
        }]))
    except Exception as error:
        print(type(error).__name__, error, flush=True)
        break
    print("stored", number, flush=True)
"""


def figures(options: Options) -> Iterator[Figure]:
    """Both engines; the quick form has every third revision."""
    revisions = _revisions()[: -1 : 3 if options.quick else 1]
    with scratch() as folder, postgresql(folder) as server:
        for name, urls in (("SQLite", _files(folder)), ("PostgreSQL", _databases(server.url))):
            lost, changed = 0, 0
            for revision in revisions:
                database = Database(next(urls))
                before = _filled(database, revision)
                lost += _lost(before, database)
                changed += _changed_by_a_step_back(database)
                database.dispose()
            yield Figure(f"{name}: rows lost or changed from {len(revisions)} revisions", lost, "rows", 0)
            yield Figure(f"{name}: rows changed by a step back and up", changed, "rows", 0)
            yield Figure(f"{name}: two upgrades at once that failed", _upgraded_at_once(next(urls)), "of 2", 0)
            yield from _two_versions(name, next(urls), folder)


def _files(folder: Path) -> Iterator[URL]:
    for number in range(1_000):
        yield make_url(f"sqlite:///{folder}/upgrade-{number}.db")


def _databases(server: URL) -> Iterator[URL]:
    engine = create_engine(server, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    for number in range(1_000):
        with engine.connect() as connection:
            connection.execute(text(f"CREATE DATABASE upgrade_{number}"))
        yield server.set(database=f"upgrade_{number}")


def _revisions() -> list[str]:
    """All revisions, the first one first."""
    script = ScriptDirectory.from_config(alembic_config(None))
    return [one.revision for one in reversed(list(script.walk_revisions()))]


def _filled(database: Database, revision: str) -> dict[str, list[dict[str, Any]]]:
    """Make the tables of `revision` and fill them; return all rows."""
    with database.writing() as connection:
        command.upgrade(alembic_config(connection, database.coins), revision)
    with database.writing() as connection:
        tables = _tables(connection)
        for table in tables.values():
            rows = [{column.name: _value(column, number) for column in table.columns} for number in range(_ROWS)]
            key = [column.name for column in table.primary_key]
            unique = {tuple(row[name] for name in key): row for row in rows}
            connection.execute(table.insert(), list(unique.values()))
    return _content(database)


def _tables(connection: Connection) -> dict[str, Table]:
    found = MetaData()
    found.reflect(connection)
    return {name: table for name, table in found.tables.items() if name != VERSION_TABLE}


def _value(column: Column[Any], number: int) -> Any:
    if column.name in _VALUES:
        values = _VALUES[column.name]
        value = values[number % len(values)]
        return value if not isinstance(value, int) or _kind(column) is int else "5-minute"
    at, kind = _START + timedelta(minutes=number), _kind(column)
    if kind is datetime:
        return at
    # SQLite holds microseconds since 1970.
    if kind is int and (column.name in _TIMES or column.name.endswith(("_at", "_before"))):
        return int(at.timestamp()) * 1_000_000
    if kind is date:
        return (at + timedelta(days=number)).date()
    if kind is object:  # JSON
        return [1]
    if column.name in ("id", "anomaly_id", "episode_id", "event_id") and kind is str:
        return md5(f"{column.table.name} {number}".encode(), usedforsecurity=False).hexdigest()
    return {int: number + 1, float: number + 1.5, bool: True, str: f"{column.name} {number}"}[kind]


def _kind(column: Column[Any]) -> type:
    return column.type.python_type


def _content(database: Database) -> dict[str, list[dict[str, Any]]]:
    with database.reading() as connection:
        return {
            name: [dict(row._mapping) for row in connection.execute(select(table))]
            for name, table in _tables(connection).items()
        }


def _lost(before: Mapping[str, list[dict[str, Any]]], database: Database) -> int:
    """Upgrade; return how many rows are missing or, of prices, changed."""
    migrate(database)
    check_schema(database)
    after = _content(database)
    # A calibration of all coins becomes one of each.
    missing = sum(
        max(0, len(rows) - len(after.get(name, []))) for name, rows in before.items() if name != "detector_calibrations"
    )
    return missing + _differences(before["raw_prices"], after["raw_prices"], _KEPT)


def _changed_by_a_step_back(database: Database) -> int:
    """Return how many rows differ after a downgrade by one and an upgrade, in what the earlier revision can hold."""
    before = _content(database)
    with database.writing() as connection:
        command.downgrade(alembic_config(connection, database.coins), "-1")
    with database.reading() as connection:
        known = {name: [column.name for column in table.columns] for name, table in _tables(connection).items()}
    migrate(database)
    after = _content(database)
    return sum(_differences(before[name], after[name], columns) for name, columns in known.items() if name in before)


def _differences(before: list[dict[str, Any]], after: list[dict[str, Any]], columns: Sequence[str]) -> int:
    wanted, found = (
        sorted(repr([row.get(name) for name in columns]) for row in rows) for rows in (before, after)
    )
    return sum(one not in set(found) for one in wanted) + abs(len(wanted) - len(found))


def _environment(url: URL, tree: Path | None = None) -> dict[str, str]:
    rendered = url.render_as_string(hide_password=False)
    return {
        **os.environ, "DATABASE_URL": rendered, "LOG_LEVEL": "ERROR",
        **({"PYTHONPATH": str(tree)} if tree else {}),
    }


def _upgraded_at_once(url: URL) -> int:
    """Upgrade by two commands at once; return how many failed, two if rows are lost."""
    database = Database(url)
    before = _filled(database, "0004")
    arguments = [sys.executable, "-m", "market_pipeline.commands.main", "migrate"]
    both = [subprocess.Popen(arguments, env=_environment(url), stderr=subprocess.DEVNULL) for _ in range(2)]
    failed = sum(process.wait(timeout=300) != 0 for process in both)
    lost = _lost(before, database)
    database.dispose()
    return failed or (2 if lost else 0)


def _two_versions(name: str, url: URL, folder: Path) -> Iterator[Figure]:
    """An earlier version collects while this one upgrades."""
    tree = _earlier_version(folder)
    if tree is None:
        yield Figure(f"{name}: an earlier version (no git history here, not run)", 0, "")
        return
    database = Database(url)
    _filled(database, "0012")
    writer = subprocess.Popen(
        [sys.executable, "-c", _EARLIER_WRITER, url.render_as_string(hide_password=False)],
        env=_environment(url, tree), cwd=tree, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )
    stdout = writer.stdout
    lines = [stdout.readline() for _ in range(20)] if stdout else []
    migrate(database)
    lines += stdout.readlines() if stdout else []
    writer.wait(timeout=60)
    stored = sum(line.startswith("stored ") for line in lines)
    refused = lines[-1].startswith("SchemaMismatch") and "newer" in lines[-1]
    found = [row for row in _content(database)["raw_prices"] if row["price"] == 1.0]
    yield Figure(f"{name}: prices of the earlier version that are lost", abs(stored - len(found)), f"of {stored}", 0)
    yield Figure(f"{name}: the earlier version stops and says why", float(refused), "", 1, at_least=True)
    yield Figure(f"{name}: this version refuses older tables", float(_refuses_older(database)), "", 1, at_least=True)
    database.dispose()


def _refuses_older(database: Database) -> bool:
    with database.writing() as connection:
        command.downgrade(alembic_config(connection, database.coins), "-1")
    try:
        check_schema(database)
    except SchemaMismatch as error:
        return f"this version needs {REVISION}" in str(error) and "migrate" in str(error)
    return False


def _earlier_version(folder: Path) -> Path | None:
    """Unpack the earlier version from the history; None without one."""
    tree = folder / _EARLIER
    if not tree.exists():
        here = Path(__file__).parents[1]
        archive = subprocess.run(
            ["git", "archive", _EARLIER, "market_pipeline"], cwd=here, capture_output=True, check=False
        )
        if archive.returncode:
            return None
        with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as files:
            files.extractall(tree, filter="data")
    return tree
