"""How SQLite executes the statements of a block."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Engine, event

from market_pipeline.storage.engine import Database


@contextmanager
def plans(database: Database) -> Iterator[list[list[str]]]:
    """Collect the query plan of each SELECT of the block, as the steps of EXPLAIN QUERY PLAN."""
    sent: list[Any] = []

    def note(*given: Any) -> None:
        sent.append(given[2:4])

    found: list[list[str]] = []
    event.listen(Engine, "before_cursor_execute", note)
    try:
        yield found
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    with database.reading() as connection:
        for statement, parameters in sent:
            if statement.startswith("SELECT"):
                plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters).all()
                found.append([row.detail for row in plan])
