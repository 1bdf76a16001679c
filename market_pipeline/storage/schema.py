"""Whether the tables are those of this version, and how they become so."""

from pathlib import Path

from sqlalchemy import inspect, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import column

from market_pipeline.storage.engine import Database
from market_pipeline.storage.errors import SchemaMismatch
from market_pipeline.storage.tables import metadata

# The newest file in migrations/versions.
REVISION = "0001"

_MIGRATE = "run `market-pipeline migrate`"
_VERSION = table("alembic_version", column("version_num"))
# Any number: it names this lock among PostgreSQL's advisory locks.
_LOCK = 7_241_130_901


def check_schema(database: Database) -> None:
    """SchemaMismatch, with what to run, unless the tables are at `REVISION`. One query."""
    try:
        with database.reading() as connection:
            found = connection.execute(select(_VERSION.c.version_num)).scalar()
    except DBAPIError:
        raise SchemaMismatch(f"{database.url} has no tables of this project; {_MIGRATE}") from None
    if found == REVISION:
        return
    if found is None or found < REVISION:
        raise SchemaMismatch(f"{database.url} is at revision {found}, this version needs {REVISION}; {_MIGRATE}")
    raise SchemaMismatch(
        f"{database.url} is at revision {found}, newer than {REVISION} that this version knows; update market_pipeline"
    )


def migrate(database: Database) -> None:
    """Create or update the tables, in one transaction; safe when two processes do it at once.

    Raises SchemaMismatch if the database holds tables of the same names that were not made by
    migrations, or a newer revision.
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations").replace("%", "%%"))
    with database.writing() as connection:
        if database.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
        existing = set(inspect(connection).get_table_names())
        if "alembic_version" not in existing:
            strangers = sorted(existing & set(metadata.tables))
            if strangers:
                raise SchemaMismatch(
                    f"{database.url} already has {', '.join(strangers)}, not made by this project; choose another "
                    "database in DATABASE_URL or move these tables away"
                )
        else:
            found = connection.execute(select(_VERSION.c.version_num)).scalar()
            if found is not None and found > REVISION:
                raise SchemaMismatch(
                    f"{database.url} is at revision {found}, newer than {REVISION}; update market_pipeline"
                )
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
