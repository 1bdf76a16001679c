"""Views of users over our tables survive migrations, or stop them.

A migration that rebuilds a table may rename it, create the new one and drop the old one; it need not
handle views:

- SQLite's RENAME would rewrite views to the table that is set aside, and fail where a view is broken
  already. `views_checked` turns that off, and undoes a migration that breaks a view.
- PostgreSQL refuses to drop a table or a column that a view uses, and names the view
  (`schema.migrate` reports it). Where possible change a table in place: ADD COLUMN, or dropping a
  constraint and adding another one, leaves views alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from market_pipeline.core.program import command
from market_pipeline.storage.db_errors import SchemaMismatch


@contextmanager
def views_checked(connection: Connection) -> Iterator[None]:
    """Raise SchemaMismatch after the migrations if they broke a view of SQLite."""
    if connection.dialect.name != "sqlite":
        yield
        return
    working = [view for view in _views(connection) if _error_of(connection, view) is None]
    connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
    broken = {view: error for view in working if (error := _error_of(connection, view))}
    if broken:
        described = ", ".join(f"{view} ({error})" for view, error in broken.items())
        raise SchemaMismatch(
            f"{connection.engine.url} was not migrated because views in it would break: {described}",
            f"drop or change them and run `{command('migrate')}` again",
        )


def _views(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'").scalars())


def _error_of(connection: Connection, view: str) -> str | None:
    """Return why `view` cannot be queried; None if it can be. It is compiled only, which costs nothing."""
    quoted = view.replace('"', '""')
    try:
        connection.exec_driver_sql(f'EXPLAIN SELECT * FROM "{quoted}"').close()
    except OperationalError as error:
        return str(error.orig)
    return None
