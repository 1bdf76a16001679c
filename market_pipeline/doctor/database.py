"""Can the database be reached, is it migrated, is there room, and does its clock agree with ours?"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from market_pipeline.core.clock import from_microseconds
from market_pipeline.doctor.context import Finding, Subject, fail, not_examined, ok, skew_finding, warn
from market_pipeline.doctor.home import home_used
from market_pipeline.settings import Settings
from market_pipeline.storage.database_clock import database_clock
from market_pipeline.storage.db_errors import SchemaMismatch, StorageError
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import REVISION, check_schema

_LITTLE_BYTES = 1_000_000_000
_TOO_LITTLE_BYTES = 100_000_000
# Ticks and backfills write megabytes between checkpoints; more waits for a reader to finish.
_LARGE_WAL_BYTES = 256_000_000


def examine_database(subject: Subject) -> Iterator[Finding]:
    """Reach it and compare its tables; what is ready is kept in `subject`."""
    if subject.settings is None:
        yield not_examined("database", "settings")
        return
    if subject.settings.database.get_backend_name() == "sqlite":
        trouble = _file_trouble(subject.settings, home_used(subject))
        if trouble is not None:
            yield trouble
            return
    database = Database(subject.settings.database, subject.settings.catalogue.ids)
    try:
        check_schema(database)
    except SchemaMismatch as error:
        yield fail("database", error.problem, f"{error.remedy[:1].upper()}{error.remedy[1:]}.")
    except StorageError as error:
        yield fail("database", str(error), "Start the database or correct DATABASE_URL.")
    else:
        subject.database = database
        yield ok("database", f"{database.url} is reached and at revision {REVISION}", revision=REVISION)


def examine_disk(subject: Subject) -> Iterator[Finding]:
    """Room on the disk of a SQLite file; the disk of a PostgreSQL server cannot be seen from here."""
    if subject.settings is None:
        yield not_examined("disk space", "settings")
        return
    if subject.settings.database.get_backend_name() != "sqlite":
        return
    folder = _file_of(subject.settings).parent
    if not folder.is_dir():
        yield not_examined("disk space", "database")
        return
    free = shutil.disk_usage(folder).free
    detail = f"{free / 1e9:,.1f} GB free in {folder}"
    remedy = f"Make room, or let DATABASE_URL name a file on another disk than that of {folder}."
    if free < _TOO_LITTLE_BYTES:
        yield fail("disk space", detail, remedy, free_bytes=free)
    elif free < _LITTLE_BYTES:
        yield warn("disk space", detail, remedy, free_bytes=free)
    else:
        yield ok("disk space", detail, free_bytes=free)
    wal = Path(f"{_file_of(subject.settings)}-wal")
    size = wal.stat().st_size if wal.exists() else 0
    if size > _LARGE_WAL_BYTES:
        yield warn(
            "write-ahead log",
            f"{wal} has grown to {size / 1e9:,.1f} GB: a reader that stays open keeps SQLite from emptying it",
            f"End the program that holds {wal} open, such as a notebook or an sqlite3 shell (`lsof {wal}` lists them); "
            "the next writes after that cut it.", wal_bytes=size,
        )


def examine_database_clock(subject: Subject) -> Iterator[Finding]:
    """A PostgreSQL server has a clock of its own, which the request budget goes by."""
    if subject.database is None:
        yield not_examined("database clock", "database")
        return
    if subject.database.dialect == "sqlite":
        yield ok("database clock", "the database is a file: its clock is this machine's", skew_seconds=0.0)
        return
    with subject.database.reading() as connection:
        before = subject.clock()
        told = from_microseconds(database_clock(connection))
        after = subject.clock()
    skew = (before + (after - before) / 2 - told).total_seconds()
    yield skew_finding("database clock", "the database's", skew)


def _file_of(settings: Settings) -> Path:
    return Path(settings.database.database or "")


def _file_trouble(settings: Settings, used: bool) -> Finding | None:
    """Why a SQLite file should not be opened: opening would create it.

    `used` is whether something has run here, so that the file should be there.
    """
    file = _file_of(settings)
    folder = file.parent
    if not folder.is_dir():
        return fail("database", f"the folder {folder} of the SQLite file does not exist",
                    "Create it or correct DATABASE_URL.")
    if not os.access(folder, os.W_OK | os.X_OK):
        return fail("database", f"the folder {folder} of the SQLite file cannot be written",
                    "Allow this user to write there or correct DATABASE_URL.")
    if not file.exists() and used:
        return fail("database", f"{file} does not exist, though something has run here before",
                    "Restore the file or correct DATABASE_URL; `market-pipeline run` would begin with an empty one.")
    if not file.exists():
        return warn("database", f"{file} does not exist yet", "`market-pipeline run` creates it.")
    if file.is_file() and not os.access(file, os.W_OK):
        return fail("database", f"{file} cannot be written by this user",
                    "Allow this user to write the file or correct DATABASE_URL.")
    return None
