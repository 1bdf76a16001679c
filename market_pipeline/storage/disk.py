"""How much disk a database takes, and how SQLite gives back what is unused."""

import sqlite3
from contextlib import closing
from pathlib import Path

from sqlalchemy import text

from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.tables import metadata

# VACUUM copies what is in use: a second for 200 MB. No process can write meanwhile, and ticks wait for half a minute.
_MOST_COPIED_BYTES = 1_000_000_000
_LEAST_UNUSED_BYTES = 50_000_000
_SIZE_IN_POSTGRESQL = text(
    "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class LEFT JOIN pg_inherits ON inhrelid = oid "
    "WHERE coalesce(inhparent, oid) IN (SELECT oid FROM pg_class "
    "WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') AND relname = ANY(:tables))"
)


def stored_bytes(database: Database) -> int:
    """Return the size of the tables with their indexes; of a SQLite file that of all its parts."""
    if database.dialect == "sqlite":
        return sum(size_of(Path(f"{database.url.database}{suffix}")) for suffix in ("", "-wal", "-shm"))
    with database.reading() as connection:
        return int(connection.execute(_SIZE_IN_POSTGRESQL, {"tables": list(metadata.tables)}).scalar_one())


def size_of(file: Path) -> int:
    """Return the size of a file; 0 if there is none."""
    try:
        return file.stat().st_size if file.is_file() else 0
    except OSError:  # Deleted in between.
        return 0


def compact(file: Path, patience: float = 5.0) -> str:
    """Make a SQLite file smaller if most of it is unused; return what was done.

    SQLite fills unused room by itself. It is given back only if that takes no longer than a writer can wait, and if no
    other writer holds the file for longer than `patience` seconds.
    """
    with closing(sqlite3.connect(file, timeout=patience, isolation_level=None)) as connection:
        pages, unused, size = (
            int(connection.execute(f"PRAGMA {name}").fetchone()[0])
            for name in ("page_count", "freelist_count", "page_size")
        )
        used = (pages - unused) * size
        if unused * size < max(used, _LEAST_UNUSED_BYTES):
            return "not needed"
        if used > _MOST_COPIED_BYTES:
            return f"not done: nothing could be written while {used / 1e9:.1f} GB are copied"
        try:
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        except sqlite3.OperationalError as error:
            return f"not done: {error}"
    return "done"


def compact_database(database: Database) -> str:
    """Compact a SQLite database; on PostgreSQL autovacuum does what is needed."""
    return compact(Path(str(database.url.database))) if database.dialect == "sqlite" else "not needed"
