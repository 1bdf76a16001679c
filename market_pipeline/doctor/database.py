"""The database: whether it can be reached, is migrated, has disk space, and has a clock that agrees with ours."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy.engine import URL

from market_pipeline.core.clock import from_microseconds
from market_pipeline.core.program import command
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.doctor.context import Diagnosis, DoctorContext, NotExamined, Number, fail, ok, skew_diagnosis, warn
from market_pipeline.doctor.dagster import home_used
from market_pipeline.settings import Settings
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import SchemaMismatch, StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.connections import scarcest_connections
from market_pipeline.storage.schema.migrate import REVISION, check_schema, how_to_create

_LITTLE_BYTES = 1_000_000_000
_TOO_LITTLE_BYTES = 100_000_000
# What a tick and a run in the background hold together, and as much again.
_FEW_CONNECTIONS = 20
# Ticks and backfills write megabytes between checkpoints; a larger file is waiting for a reader to finish.
_LARGE_WAL_BYTES = 256_000_000


def examine_database(context: DoctorContext) -> Iterator[Diagnosis]:
    """Connect and compare the tables with this version. Sets `context.database`."""
    settings = context.settings
    if _is_sqlite(settings) and (trouble := _file_trouble(settings, home_used(context))):
        yield trouble
        return
    database = Database(settings.database, settings.catalogue.ids)
    try:
        check_schema(database)
    except SchemaMismatch as error:
        yield fail("database", error.problem, _sentence(error.remedy))
    except StorageError as error:
        yield fail("database", str(error), "Start the database or correct DATABASE_URL.")
    else:
        context.database = database
        yield ok("database", f"connected to {database.url}, which is at revision {REVISION}", revision=REVISION)


def _file_trouble(settings: Settings, used: bool) -> Diagnosis | None:
    """Say why a SQLite file must not be opened, which would create it; it should exist if Dagster was `used` here."""
    file = _file_of(settings)
    folder, exists = file.parent, file.exists()
    anew = f"Restore the file or correct DATABASE_URL; `{command('run')}` would start with an empty one."
    for wrong, detail, remedy in (
        (not folder.is_dir(), f"the folder {folder} of the SQLite file does not exist", "Create it"),
        (not os.access(folder, os.W_OK | os.X_OK), f"this user cannot write to the folder {folder}", "Allow that"),
        (not exists and used, f"{file} does not exist, although market-pipeline has run here before", anew),
        (file.is_file() and not os.access(file, os.W_OK), f"this user cannot write to {file}", "Allow that"),
    ):
        if wrong:
            return fail("database", detail, remedy if remedy is anew else f"{remedy} or correct DATABASE_URL.")
    if not exists:
        return warn("database", f"{file} does not exist yet", _sentence(how_to_create()))
    return None


def _sentence(remedy: str) -> str:
    return f"{remedy[:1].upper()}{remedy[1:]}."


def examine_disk(context: DoctorContext) -> Iterator[Diagnosis]:
    """Check the disk of a SQLite file; that of a PostgreSQL server cannot be seen from here."""
    if not _is_sqlite(context.settings):
        return
    file = _file_of(context.settings)
    if not file.parent.is_dir():
        raise NotExamined("database")
    free = shutil.disk_usage(file.parent).free
    detail = f"{free / 1e9:,.1f} GB free in {file.parent}"
    remedy = f"Free some space, or let DATABASE_URL name a file on another disk than that of {file.parent}."
    if free < _TOO_LITTLE_BYTES:
        yield fail("disk space", detail, remedy, free_bytes=free)
    elif free < _LITTLE_BYTES:
        yield warn("disk space", detail, remedy, free_bytes=free)
    else:
        yield ok("disk space", detail, free_bytes=free)
    wal = Path(f"{file}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > _LARGE_WAL_BYTES:
        detail = f"{wal} has grown to {size / 1e9:,.1f} GB: a reader that stays open keeps SQLite from truncating it"
        remedy = (
            f"End the program that holds {wal} open, such as a notebook or an sqlite3 shell (`lsof {wal}` lists them); "
            "the next writes truncate it."
        )
        yield warn("write-ahead log", detail, remedy, wal_bytes=size)


def examine_connections(context: DoctorContext) -> Iterator[Diagnosis]:
    """Count the connections that the servers of prices and of Dagster's storage still allow."""
    if context.database.dialect == "postgresql":
        yield _connections("connections", context.database)
    storage = storage_of(context.settings)
    if storage.url is not None and _server(storage.url) != _server(context.database.url):
        of_dagster = storage.database()
        try:
            yield _connections("connections of dagster", of_dagster)
        finally:
            of_dagster.dispose()


def _connections(name: str, database: Database) -> Diagnosis:
    found = scarcest_connections(database)
    numbers: dict[str, Number] = {"connections_used": found.used, "connections_allowed": found.allowed}
    detail = f"{found.used} of {found.allowed} connections that {found.holder} allows are in use"
    if found.free >= _FEW_CONNECTIONS:
        return ok(name, detail, **numbers)
    remedy = (
        f"Keep {_FEW_CONNECTIONS} free for runs that start together: raise max_connections, or the limit of the "
        "database or role, or end what holds them (pg_stat_activity)."
    )
    return warn(name, detail, remedy, **numbers)


def _server(url: URL) -> tuple[object, ...]:
    return url.host, url.port, url.username, url.database, url.query.get("host")


def examine_database_clock(context: DoctorContext) -> Iterator[Diagnosis]:
    """Compare this machine's clock with a PostgreSQL server's, which times the request budget."""
    if context.database.dialect == "sqlite":
        yield ok("database clock", "the database is a file: its clock is this machine's", skew_seconds=0.0)
        return
    with context.database.reading() as connection:
        before = context.clock()
        server = from_microseconds(database_clock(connection))
        after = context.clock()
    skew = (before + (after - before) / 2 - server).total_seconds()
    yield skew_diagnosis("database clock", "the database's", skew)


def _is_sqlite(settings: Settings) -> bool:
    return settings.database.get_backend_name() == "sqlite"


def _file_of(settings: Settings) -> Path:
    return Path(settings.database.database or "")
