"""Check that the tables match this version, and migrate them.

On PostgreSQL the tables belong to the first schema of the search path, which is created if DATABASE_URL asks for it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, inspect, select, table, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql import column

import market_pipeline.storage.schema.alert_tables  # noqa: F401  # registers the tables of operations, too
from market_pipeline.core.program import command
from market_pipeline.core.symbols import KNOWN_COINS
from market_pipeline.logs import get_logger
from market_pipeline.storage.db_errors import DatabaseUnavailable, SchemaMismatch, StorageError, sentences
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.monthly import add_months
from market_pipeline.storage.schema.tables import metadata
from market_pipeline.storage.search_path import requested_path, schemas_of

if TYPE_CHECKING:
    from alembic.config import Config

logger = get_logger(__name__)

# The newest file in migrations/versions.
REVISION = "0015"
# A name of our own: Dagster may keep its tables, and its `alembic_version`, in the same database.
VERSION_TABLE = "market_pipeline_version"

# SQLSTATEs: a view depends on what is dropped; or on a column whose type changes.
_USED_BY_VIEWS = ("2BP01", "0A000")
_VERSION = table(VERSION_TABLE, column("version_num"))
# One query a check: the revision, and what distinguishes the table of another schema from ours.
_POSTGRESQL_VERSION = text(
    "SELECT version_num, current_schema() AS schema, current_setting('search_path') AS path, current_user AS role, "
    "(SELECT nspname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE c.oid = v.tableoid) AS holder "
    f"FROM {VERSION_TABLE} v"
)
# Any number: it identifies this lock among PostgreSQL's advisory locks.
_LOCK = 7_241_130_901
# `holder` is the schema of the version table that an unqualified name means.
_SEARCH = text(
    "SELECT current_schema() AS schema, current_setting('search_path') AS path, current_user AS role, "
    "(SELECT nspname FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace "
    f"WHERE pg_class.oid = to_regclass('{VERSION_TABLE}')) AS holder"
)
_MISSING_SCHEMA = text(
    "SELECT 'CREATE SCHEMA ' || quote_ident(:schema) WHERE has_database_privilege(current_database(), 'CREATE') "
    "AND NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = :schema) "
    f"AND NOT EXISTS (SELECT FROM pg_class WHERE relname = '{VERSION_TABLE}' AND relkind = 'r')"
)
_RIGHTS = text(
    "SELECT has_schema_privilege(n.oid, 'CREATE') AS may_create, quote_ident(current_user) AS role, "
    "quote_ident(current_database()) AS database, quote_ident(nspname) AS schema, "
    "pg_get_userbyid(nspowner) = 'pg_database_owner' AS of_database_owner, "
    "quote_ident(pg_get_userbyid(c.relowner)) AS owner, pg_has_role(c.relowner, 'USAGE') AS is_owner "
    f"FROM pg_namespace n LEFT JOIN pg_class c ON c.relnamespace = n.oid AND c.relname = '{VERSION_TABLE}' "
    "WHERE nspname = current_schema()"
)


def check_schema(database: Database) -> None:
    """Raise SchemaMismatch, with the remedy, unless the tables are at `REVISION`. One query.

    Raises DatabaseUnavailable if the database cannot be read for another reason. A SQLite file that
    does not exist is not created.
    """
    if database.dialect == "sqlite" and _is_missing(file := Path(database.url.database or "")):
        raise SchemaMismatch(f"{file.absolute()} does not exist yet", how_to_create())
    try:
        with database.reading() as connection:
            found = _revision(connection)
    except DBAPIError as error:
        raise _unreadable(database, error) from None
    if found is None or found < REVISION:
        problem = f"{database.url} is at revision {found}, this version needs {REVISION}"
        raise _to_migrate(database, problem, _migrate())
    _require_not_newer(database, found)


def migrate(database: Database) -> None:
    """Create or update the tables, in one transaction; safe when two processes do it at once.

    Raises SchemaMismatch if the database holds tables of the same names that were not made by
    migrations, or a newer revision, or refuses the migration; nothing is changed then.
    """
    try:
        with database.writing() as connection:
            if database.dialect == "postgresql":
                connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": _LOCK})
                _create_schema(connection)
                _require_own_schema(connection)
            found = None
            existing = set(inspect(connection).get_table_names(schema=current_schema(connection)))
            if VERSION_TABLE in existing:
                found = connection.execute(select(_VERSION.c.version_num)).scalar()
                _require_not_newer(database, found or "")
                if found == REVISION:
                    add_months(connection)
                    return
            elif strangers := sorted(existing & set(metadata.tables)):
                raise SchemaMismatch(
                    f"{database.url} already has {', '.join(strangers)}, which this project did not create",
                    "choose another database in DATABASE_URL or move these tables",
                )
            _upgrade(database, connection)
            add_months(connection)
        if found:
            logger.info("Tables upgraded from revision %s to %s", found, REVISION)
    except DBAPIError as error:
        raise _not_migrated(database, error) from None


def how_to_create() -> str:
    """Return what to do where the database, or its tables, were never created."""
    run, migrate = command("run"), command("migrate")
    only = f" (`{migrate}` only creates them)" if migrate != run else ""
    return f"start `{run}`, which creates the tables and collects prices{only}"


def alembic_config(connection: Connection | None, coins: Mapping[str, str] = KNOWN_COINS) -> "Config":
    """Configure Alembic to work inside the transaction of `connection`; without one it can read the revisions only.

    `coins` are the coin ids of the symbols, for rows that do not have one yet.
    """
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parents[1] / "migrations").replace("%", "%%"))
    config.attributes |= {"connection": connection, "coins": coins}
    return config


def current_schema(connection: Connection) -> str | None:
    """Return the schema in which tables are created; None on SQLite."""
    if connection.dialect.name != "postgresql":
        return None
    schema: str | None = connection.execute(text("SELECT current_schema()")).scalar()
    return schema


def _create_schema(connection: Connection) -> None:
    """Create the schema that DATABASE_URL asks for, unless this database has our tables: it may be misspelt."""
    requested = schemas_of(requested_path(connection.engine.url) or "")
    if requested and requested[0] != "$user":
        statement = connection.execute(_MISSING_SCHEMA, {"schema": requested[0]}).scalar()
        if statement is not None:
            connection.execute(text(statement))


def _upgrade(database: Database, connection: Connection) -> None:
    from alembic import command

    if database.dialect == "postgresql" and (missing := _missing_right(connection)):
        raise SchemaMismatch(f"{database.url} cannot be migrated: {missing[0]}", missing[1])
    command.upgrade(alembic_config(connection, database.coins), "head")


def _not_migrated(database: Database, error: DBAPIError) -> SchemaMismatch:
    """Make the error for a refused migration, without PostgreSQL's hint, which may advise CASCADE."""
    diagnostics = getattr(error.orig, "diag", None)
    messages = [diagnostics.message_primary, diagnostics.message_detail] if diagnostics else [str(error.orig)]
    reason = database.without_password(": ".join(" ".join(message.split()) for message in messages if message))
    remedy = f"fix that and {_migrate()} again"
    if diagnostics and diagnostics.sqlstate in _USED_BY_VIEWS:
        remedy = f"drop the views that it names, {_migrate()} again, and create them again"
    return SchemaMismatch(f"{database.url} could not be migrated and is unchanged: {reason}", remedy)


def _migrate() -> str:
    return f"run `{command('migrate')}`"


def _revision(connection: Connection) -> str | None:
    """Return the revision of the tables in the current schema; None if none is recorded."""
    if connection.dialect.name == "sqlite":
        stored: str | None = connection.execute(select(_VERSION.c.version_num)).scalar()
        return stored
    row = connection.execute(_POSTGRESQL_VERSION).first()
    if row is None:
        return None
    _require_first(connection, row.path, row.schema, row.role)
    if row.holder != row.schema:
        raise _behind(connection, row.schema, row.holder)
    return str(row.version_num)


def _no_tables(database: Database) -> SchemaMismatch:
    return _to_migrate(database, f"{database.url} has no tables of this project", how_to_create())


def _to_migrate(database: Database, problem: str, remedy: str) -> SchemaMismatch:
    """Make the error for tables that must be migrated: by this role, or by another one if it lacks the right."""
    if database.dialect == "postgresql":
        with database.reading() as connection:
            missing = _missing_right(connection)
        if missing:
            return SchemaMismatch(f"{problem}, and {missing[0]}", missing[1])
    return SchemaMismatch(problem, remedy)


def _require_not_newer(database: Database, found: str) -> None:
    if found > REVISION:
        raise SchemaMismatch(
            f"{database.url} is at revision {found}, newer than {REVISION} that this version knows",
            "update market_pipeline",
        )


def _is_missing(file: Path) -> bool:
    return file.parent.is_dir() and not file.exists()


def _unreadable(database: Database, error: DBAPIError) -> StorageError:
    """Make the error for a revision that cannot be read: only a missing table calls for a migration."""
    try:
        with database.reading() as connection:
            if database.dialect == "postgresql":
                _require_own_schema(connection)
            missing = not inspect(connection).has_table(VERSION_TABLE, schema=current_schema(connection))
    except DBAPIError:
        missing = False
    if missing:
        return _no_tables(database)
    reason = sentences(database.without_password(str(error.orig)))
    return DatabaseUnavailable(f"{database.url} cannot be read: {reason} DATABASE_URL names it.")


def _require_own_schema(connection: Connection) -> None:
    """Raise SchemaMismatch if the first schema of the search path does not exist, or a later one has the tables."""
    found = connection.execute(_SEARCH).one()
    _require_first(connection, found.path, found.schema, found.role)
    if found.holder not in (None, found.schema):
        raise _behind(connection, found.schema, found.holder)


def _require_first(connection: Connection, path: str, schema: str | None, role: str) -> None:
    """Raise SchemaMismatch unless `schema`, the current one, is the first of the search `path`."""
    names = schemas_of(path)
    # By default the path begins with a schema named like the role, which need not exist.
    expected = {role if name == "$user" else name for name in names[: 2 if names[:1] == ["$user"] else 1]}
    if schema is None or (expected and schema not in expected):
        missing = next((name for name in names if name != "$user"), "search_path")
        raise SchemaMismatch(
            f"{connection.engine.url}: the schema {missing} of its search_path ({path}) does not exist, or the "
            f"role {role} may not use it",
            f"create it (CREATE SCHEMA {missing} AUTHORIZATION {role}) or correct search_path in DATABASE_URL",
        )


def _behind(connection: Connection, schema: str | None, holder: str) -> SchemaMismatch:
    """Make the error if only `holder`, after the current `schema` in the search path, has the tables."""
    return SchemaMismatch(
        f"{connection.engine.url}: its search_path begins with {schema}, which has no tables of this project, while "
        f"{holder}, a later schema, has them",
        f"name one schema only in DATABASE_URL: options=-csearch_path%3D{schema} to begin with empty tables, "
        f"options=-csearch_path%3D{holder} to use those",
    )


def _missing_right(connection: Connection) -> tuple[str, str] | None:
    """Return what prevents this role from migrating the tables, and the remedy; None if nothing does."""
    found = connection.execute(_RIGHTS).one()
    if not found.may_create:
        grant = f"GRANT CREATE ON SCHEMA {found.schema} TO {found.role}"
        own = f"ALTER DATABASE {found.database} OWNER TO {found.role}, or " if found.of_database_owner else ""
        return (
            f"the role {found.role} may not create tables in schema {found.schema} of database {found.database}",
            f"let an administrator of the server run {own}{grant}",
        )
    if found.owner is not None and not found.is_owner:
        return (
            f"the role {found.role} may not change the tables, which belong to {found.owner}",
            f"{_migrate()} as {found.owner}, or let an administrator run "
            f"GRANT {found.owner} TO {found.role}",
        )
    return None
