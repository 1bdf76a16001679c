"""Where Dagster keeps runs, events and schedules: SQLite files in DAGSTER_HOME, or a schema of a PostgreSQL database.

The schema is Dagster's alone: its tables, among them an `alembic_version`, could have the names of other projects'.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, NoReturn

from sqlalchemy import URL, Connection, Row, text
from sqlalchemy.exc import DBAPIError

from market_pipeline.settings import EVENT_BATCH_SIZE, Settings
from market_pipeline.storage.db_errors import DatabaseUnavailable, SchemaMismatch, StorageError, sentences
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.search_path import requested_path, schemas_of, with_options

# The variable that dagster.yaml refers to.
VARIABLE = "DAGSTER_DATABASE_URL"
SCHEMA = "dagster"
_UTC = "-ctimezone=UTC"

_BLOCK = f"""
# The commands set the variable from DATABASE_URL.
storage:
  postgres:
    postgres_url: {{env: {VARIABLE}}}
"""

# A table of each of Dagster's three storages: it creates the others with them.
_TABLES = {"runs", "event_logs", "jobs"}
_ALEMBIC = "alembic_version"
_STATE = text("""
    SELECT current_setting('search_path') AS path, quote_ident(current_user) AS role, quote_ident(:schema) AS schema,
        extract(timezone FROM timestamptz '2026-01-01 Z') = 0 AND extract(timezone FROM timestamptz '2026-07-01 Z') = 0
            AS is_utc,
        quote_ident(current_database()) AS database, n.oid IS NOT NULL AS is_there,
        has_database_privilege(current_database(), 'CREATE') AS may_create_schema,
        coalesce(has_schema_privilege(n.oid, 'USAGE'), false) AS may_use,
        coalesce(has_schema_privilege(n.oid, 'CREATE'), false) AS may_create,
        ARRAY(SELECT relname::text FROM pg_class WHERE relnamespace = n.oid AND relkind IN ('r', 'p')) AS tables,
        EXISTS(SELECT FROM pg_class WHERE relnamespace = n.oid AND relname = 'runs' AND NOT (
            has_table_privilege(oid, 'SELECT') AND has_table_privilege(oid, 'INSERT')
            AND has_table_privilege(oid, 'UPDATE') AND has_table_privilege(oid, 'DELETE'))) AS closed
    FROM (SELECT) AS one LEFT JOIN pg_namespace AS n ON nspname = :schema
""")
# How PgBouncer refuses a connection with a search path.
_NO_OPTIONS = "unsupported startup parameter: options"
_BYPASS = (
    "name the server itself in {0}, not the pooler before it; or there a role for Dagster alone, with ALTER ROLE ... "
    "SET search_path = {1} and SET timezone = 'UTC', and let PgBouncer ignore_startup_parameters = options"
)
# Any number: it identifies this lock among PostgreSQL's advisory locks.
_LOCK = text("SELECT pg_advisory_xact_lock(7241130902)")


@dataclass(frozen=True)
class InstanceStorage:
    """The database at `url`, in the first schema of its search path; SQLite files without one.

    `batch_size` is how many events of a run's partitions are stored at once, `setting` which setting has the URL.
    """

    url: URL | None = None
    batch_size: int = EVENT_BATCH_SIZE
    setting: str = VARIABLE

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables of processes that open the instance; they hold the password."""
        size = {"DAGSTER_EVENT_BATCH_SIZE": str(self.batch_size)}
        if self.url is None:
            return size
        # psycopg2 is not needed for SQLite.
        from market_pipeline.storage.postgresql import DEFAULTS

        defaults = {name: str(value) for name, value in DEFAULTS.items()} | {"application_name": "dagster"}
        return {**size, VARIABLE: self.url.set(query={**defaults, **self.url.query}).render_as_string(False)}

    @property
    def block(self) -> str:
        """The part of dagster.yaml that configures this storage."""
        return "" if self.url is None else _BLOCK

    def database(self) -> Database:
        """Open the database, which the caller disposes of; ValueError if the storage is files."""
        if self.url is None:
            raise ValueError("Dagster's storage is SQLite files")
        return Database(self.url, setting=self.setting)

    def check(self) -> bool:
        """Return whether Dagster's tables are there.

        Raises a StorageError with the remedy if the role, or a pooler before the server, prevents their use.
        """
        with self._opened() as database, database.reading() as connection:
            return set(self._state(connection).tables) >= _TABLES

    def prepare(self, create: Callable[[], None]) -> None:
        """Create the schema if it is missing, and call `create` unless Dagster's tables are there.

        Safe when several processes do it at once. Raises what `check` raises, and creates nothing then.
        """
        with self._opened() as database:
            with database.writing() as connection:
                connection.execute(_LOCK)
                state = self._state(connection)
                if not state.is_there:
                    connection.execute(text(f"CREATE SCHEMA {state.schema}"))
            if not _TABLES <= set(state.tables):
                with exclusive(database, "create", lambda: None):
                    with database.reading() as connection:
                        state = self._state(connection)
                    if not _TABLES <= set(state.tables):
                        create()

    @contextmanager
    def only_daemon(self, refuse: Callable[[], NoReturn]) -> Iterator[None]:
        """Hold the lock of the one process with a daemon over this storage; call `refuse` if another one has it.

        The lock belongs to an open transaction, not to the session, which a pooler would give to others. It is lost
        when the server restarts.
        """
        if self.url is None:
            yield
            return
        with self._opened() as database:
            lock = ExitStack()
            lock.enter_context(exclusive(database, "daemon", refuse))
            try:
                yield
            finally:
                with suppress(StorageError):
                    lock.close()

    @contextmanager
    def _opened(self) -> Iterator[Database]:
        database = self.database()
        try:
            yield database
        except DatabaseUnavailable as error:
            if _NO_OPTIONS not in str(error):
                raise
            problem = "the pooler that it names refuses `options`, which hold the search_path"
            raise SchemaMismatch(f"{self}: {problem}", _BYPASS.format(VARIABLE, schema_of(database.url))) from None
        except DBAPIError as error:
            reason = sentences(database.without_password(str(error.orig)))
            raise DatabaseUnavailable(f"{self}: {reason} {self.setting} names it.") from None
        finally:
            database.dispose()

    def __str__(self) -> str:
        return "SQLite files" if self.url is None else f"schema {schema_of(self.url)} of {self.url}"

    def _state(self, connection: Connection) -> Row[Any]:
        """Read what is there; raise SchemaMismatch if Dagster cannot work with it."""
        path = schemas_of(requested_path(self.url) or "") if self.url is not None else []
        state = connection.execute(_STATE, {"schema": path[0]}).one()
        if schemas_of(state.path) != path:
            problem = f"the search_path in its options does not reach the server, whose is {state.path}"
            raise SchemaMismatch(f"{self}: {problem}", _BYPASS.format(VARIABLE, state.schema))
        if not state.is_utc:
            problem = "the time zone in its options does not reach the server, and Dagster would misdate its runs"
            raise SchemaMismatch(f"{self}: {problem}", _BYPASS.format(VARIABLE, state.schema))
        if found := _problem(state):
            raise SchemaMismatch(f"{self}: {found[0]}", found[1])
        return state


def schema_of(url: URL) -> str:
    """Return the schema of Dagster's tables in the database at `url`."""
    return schemas_of(requested_path(url) or SCHEMA)[0]


FILES = InstanceStorage()


def storage_of(settings: Settings) -> InstanceStorage:
    """Return the storage of the Dagster instance of `settings`: PostgreSQL if they name a database for it."""
    size, url = settings.dagster_event_batch_size, settings.dagster_database
    if url is None:
        return InstanceStorage(None, size)
    is_own = settings.dagster_database_url is not None
    # The search path of DATABASE_URL is that of the prices.
    if not is_own or requested_path(url) is None:
        url = with_options(url, search_path=SCHEMA)
    # Dagster takes the session's local times, which have no zone in its tables, for UTC.
    if _UTC not in str(url.query.get("options")):
        url = with_options(url, timezone="UTC")
    return InstanceStorage(url, size, VARIABLE if is_own else "DATABASE_URL")


def _problem(state: Row[Any]) -> tuple[str, str] | None:
    """Return what prevents Dagster from working in the schema of `state`, and the remedy; None if nothing does."""
    tables, role, schema = set(state.tables), state.role, state.schema
    elsewhere = f"or name another database in {VARIABLE}"
    if not state.is_there:
        if state.may_create_schema:
            return None
        return (
            f"the schema {schema} does not exist, and the role {role} may not create it",
            f"let an administrator of the server run CREATE SCHEMA {schema} AUTHORIZATION {role}, {elsewhere}",
        )
    if _ALEMBIC in tables and not tables & _TABLES:
        return (
            f"the schema {schema} has the {_ALEMBIC} of another project",
            f"name another schema in {VARIABLE} (options=-csearch_path%3Dname), {elsewhere}",
        )
    if not state.may_use or (not state.may_create and not _TABLES <= tables):
        return (
            f"the role {role} may not create tables in schema {schema} of database {state.database}",
            f"let an administrator of the server run GRANT USAGE, CREATE ON SCHEMA {schema} TO {role}, {elsewhere}",
        )
    if state.closed:
        return (
            f"the role {role} may not write to the tables in schema {schema} of database {state.database}",
            f"let their owner run GRANT ALL ON ALL TABLES IN SCHEMA {schema} TO {role} and GRANT ALL ON ALL SEQUENCES "
            f"IN SCHEMA {schema} TO {role}, {elsewhere}",
        )
    return None
