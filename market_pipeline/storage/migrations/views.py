"""Views that users have made over our tables survive migrations, or stop them.

A migration that rebuilds a table may rename it, create the new one and drop the old one; it need not
look after views:

- SQLite's RENAME would rewrite views to the table that is set aside, and fail where a view is broken
  already. `views_kept` turns that off, and undoes a migration after which a view no longer answers.
- PostgreSQL refuses to drop a table or a column that a view uses, and names the view
  (`schema.migrate` reports it). Where possible change a table in place: ADD COLUMN, or dropping a
  constraint and adding another one, leaves views alone.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection
from sqlalchemy.exc import OperationalError

from market_pipeline.storage.db_errors import SchemaMismatch


@contextmanager
def views_kept(connection: Connection) -> Iterator[None]:
    """Around the migrations: SchemaMismatch if a view of SQLite answered before and does not afterwards."""
    if connection.dialect.name != "sqlite":
        yield
        return
    answered = [view for view in _views(connection) if _trouble(connection, view) is None]
    connection.exec_driver_sql("PRAGMA legacy_alter_table=ON")
    try:
        yield
    finally:
        connection.exec_driver_sql("PRAGMA legacy_alter_table=OFF")
    broken = {view: trouble for view in answered if (trouble := _trouble(connection, view))}
    if broken:
        described = ", ".join(f"{view} ({trouble})" for view, trouble in broken.items())
        raise SchemaMismatch(
            f"{connection.engine.url} was not migrated, since views in it would no longer answer: {described}",
            "drop or change them and run `market-pipeline migrate` again",
        )


def _views(connection: Connection) -> list[str]:
    return list(connection.exec_driver_sql("SELECT name FROM sqlite_master WHERE type = 'view'").scalars())


def _trouble(connection: Connection, view: str) -> str | None:
    """Why `view` cannot be queried; None if it can be. Compiled only, so it costs nothing."""
    quoted = view.replace('"', '""')
    try:
        connection.exec_driver_sql(f'EXPLAIN SELECT * FROM "{quoted}"').close()
    except OperationalError as error:
        return str(error.orig)
    return None
