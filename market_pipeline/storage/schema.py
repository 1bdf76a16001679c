"""Whether the tables are those of this version, and how they become so."""

from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import column

from market_pipeline.storage.engine import Database
from market_pipeline.storage.errors import DatabaseUnavailable, SchemaMismatch, StorageError
from market_pipeline.storage.bookkeeping import metadata

if TYPE_CHECKING:
    from alembic.config import Config

# The newest file in migrations/versions.
REVISION = "0004"
# A name of our own: Dagster may keep its tables, and its `alembic_version`, in the same database.
VERSION_TABLE = "market_pipeline_version"

_MIGRATE = "run `market-pipeline migrate`"
_NO_TABLES = "{} has no tables of this project; " + _MIGRATE
_VERSION = table(VERSION_TABLE, column("version_num"))
# Any number: it names this lock among PostgreSQL's advisory locks.
_LOCK = 7_241_130_901


def check_schema(database: Database) -> None:
    """SchemaMismatch, with what to run, unless the tables are at `REVISION`. One query.

    Raises DatabaseUnavailable if the database cannot be read for another reason. A SQLite file that
    does not exist is not created.
    """
    if database.dialect == "sqlite" and _is_missing(Path(database.url.database or "")):
        raise SchemaMismatch(_NO_TABLES.format(database.url))
    try:
        with database.reading() as connection:
            found = connection.execute(select(_VERSION.c.version_num)).scalar()
    except DBAPIError as error:
        raise _unreadable(database, error) from None
    if found is None or found < REVISION:
        raise SchemaMismatch(
            f"{database.url} is at revision {found}, this version needs {REVISION}; {_MIGRATE}"
        )
    _require_not_newer(database, found)


def migrate(database: Database) -> None:
    """Create or update the tables, in one transaction; safe when two processes do it at once.

    Raises SchemaMismatch if the database holds tables of the same names that were not made by
    migrations, or a newer revision.
    """
    from alembic import command

    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        existing = set(inspect(connection).get_table_names())
        if VERSION_TABLE in existing:
            found = connection.execute(select(_VERSION.c.version_num)).scalar()
            _require_not_newer(database, found or "")
        elif strangers := sorted(existing & set(metadata.tables)):
            raise SchemaMismatch(
                f"{database.url} already has {', '.join(strangers)}, not made by this project; "
                "choose another database in DATABASE_URL or move these tables away"
            )
        command.upgrade(alembic_config(connection), "head")


def alembic_config(connection: Connection) -> "Config":
    """What Alembic needs to work on the migrations inside the transaction of `connection`."""
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    config.attributes["connection"] = connection
    return config


def _require_not_newer(database: Database, found: str) -> None:
    if found > REVISION:
        raise SchemaMismatch(
            f"{database.url} is at revision {found}, newer than {REVISION} that this version knows; "
            "update market_pipeline"
        )


def _is_missing(file: Path) -> bool:
    return file.parent.is_dir() and not file.exists()


def _unreadable(database: Database, error: DBAPIError) -> StorageError:
    """Why the revision cannot be read: only a missing table is a matter of migrating."""
    try:
        with database.reading() as connection:
            missing = not inspect(connection).has_table(VERSION_TABLE)
    except DBAPIError:
        missing = False
    if missing:
        return SchemaMismatch(_NO_TABLES.format(database.url))
    why = database.without_password(str(error.orig).strip())
    return DatabaseUnavailable(f"{database.url} cannot be read: {why}. DATABASE_URL names it.")
