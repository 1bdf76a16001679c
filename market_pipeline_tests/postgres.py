"""Empty, migrated databases of a running PostgreSQL server, one after the other or several at once."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import URL, create_engine, text
from sqlalchemy.exc import OperationalError
from sqlalchemy.pool import NullPool

from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import VERSION_TABLE, migrate

# What a test may have changed but for rows: then its database is not used again.
_STRUCTURE = """
    SELECT concat(attrelid::regclass, ' ', attname, atttypid::regtype, attnotnull) AS part
        FROM pg_attribute JOIN pg_class ON pg_class.oid = attrelid WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat(relname, relkind, relacl) FROM pg_class WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT concat(conrelid::regclass, ' ', conname, pg_get_constraintdef(oid))
        FROM pg_constraint WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT concat(tgrelid::regclass, ' ', tgname) FROM pg_trigger WHERE NOT tgisinternal
    UNION ALL SELECT setconfig::text FROM pg_db_role_setting JOIN pg_database ON pg_database.oid = setdatabase
        WHERE datname = current_database()
    ORDER BY part
"""
_VERSION = f"SELECT version_num FROM {VERSION_TABLE}"
_TABLES = f"SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> '{VERSION_TABLE}'"
_OTHERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"


@contextmanager
def administering(url: URL) -> Iterator[Callable[[str], Sequence[Any]]]:
    """A function that runs a statement at `url`, outside of a transaction, and returns its first column."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT", poolclass=NullPool)
    with engine.connect() as connection:

        def run(statement: str) -> Sequence[Any]:
            found = connection.execute(text(statement))
            return found.scalars().all() if found.returns_rows else []

        yield run


class Databases:
    """Databases of the server at `url`.

    Making one takes a tenth of a second, emptying a used one a fraction of that. It gets another name all
    the same: a thread that a test left behind finds nothing to write to.
    """

    def __init__(self, url: URL) -> None:
        self._url = url
        self._numbers = itertools.count()
        self._clean: list[URL] = []
        self._template = self.make()
        database = Database(self._template)
        migrate(database)
        database.dispose()
        with administering(self._template) as run:
            self._structure, self._version = run(_STRUCTURE), run(_VERSION)

    def make(self) -> URL:
        """The URL of a new database without tables."""
        return self._named("CREATE DATABASE {}")

    def take(self) -> URL:
        """The URL of an empty, migrated database."""
        if self._clean:
            return self._clean.pop()
        return self._named(f"CREATE DATABASE {{}} TEMPLATE {self._template.database}")

    def give_back(self, url: URL) -> None:
        """Empty the database at `url`, for another test to take; nobody may use it under this name again."""
        with administering(self._url) as run:
            run(_OTHERS.format(url.database))
        try:
            renamed = self._named(f"ALTER DATABASE {url.database} RENAME TO {{}}")
        except OperationalError:  # Somebody holds on to it.
            return
        with administering(renamed) as run:
            if run(_STRUCTURE) != self._structure or run(_VERSION) != self._version:
                return
            used = [table for table in run(_TABLES) if run(f"SELECT 1 FROM {table} LIMIT 1")]
            if used:
                run(f"TRUNCATE {', '.join(used)}")
        self._clean.append(renamed)

    def _named(self, statement: str) -> URL:
        name = f"test_{next(self._numbers)}"
        with administering(self._url) as run:
            run(statement.format(name))
        return self._url.set(database=name)
