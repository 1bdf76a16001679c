"""The INSERT of rows into a table, in the SQL of either database."""

from functools import lru_cache
from typing import Any

from sqlalchemy import Boolean, Column, Date, Double, Integer, Table

from market_pipeline.storage.schema.types import UtcTimestamp


@lru_cache
def insert_from(table: Table, dialect: str, source: str, *, on_conflict: bool) -> str:
    """INSERT every row of `source`, the FROM of a query that has the table's columns.

    With `on_conflict` the row of the same key is updated where it differs in a column of
    `table.info["decides_change"]`, or compares as `table.info["changes_if"]`.
    """
    # Without WHERE, SQLite takes ON for a join condition.
    return f"INSERT INTO {table.name} ({_names(table)}) SELECT {_names(table)} FROM {source} WHERE true" + (
        _on_conflict(table, dialect) if on_conflict else ""
    )


@lru_cache
def insert_row(table: Table, *, on_conflict: bool) -> str:
    """INSERT one row given as parameters in the table's order, for SQLite's `executemany`."""
    values = ", ".join("?" for _ in table.columns)
    return f"INSERT INTO {table.name} ({_names(table)}) VALUES ({values})" + (
        _on_conflict(table, "sqlite") if on_conflict else ""
    )


@lru_cache
def arrays_as_rows(table: Table) -> str:
    """Return a FROM for PostgreSQL whose rows are passed as one array parameter a column."""
    arrays = ", ".join(f"%s::{_postgresql_type(column)}[]" for column in table.columns)
    return f"unnest({arrays}) AS given ({_names(table)})"


def _postgresql_type(column: "Column[Any]") -> str:
    if isinstance(column.type, UtcTimestamp):
        return "timestamptz"
    # Whole numbers of which some may be missing travel as floats.
    if isinstance(column.type, Double) or (isinstance(column.type, Integer) and column.nullable):
        return "float8"
    if isinstance(column.type, Integer):
        return "int8"
    if isinstance(column.type, Boolean):
        return "bool"
    return "date" if isinstance(column.type, Date) else "text"


def _names(table: Table) -> str:
    return ", ".join(f'"{column.name}"' for column in table.columns)


def _on_conflict(table: Table, dialect: str) -> str:
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    facts = ", ".join(
        f'"{column.name}" = excluded."{column.name}"' for column in table.columns if not column.primary_key
    )
    differs = table.info.get("changes_if") or ("IS NOT" if dialect == "sqlite" else "IS DISTINCT FROM")
    changed = " OR ".join(
        f'{table.name}."{name}" {differs} excluded."{name}"' for name in table.info["decides_change"]
    )
    return f" ON CONFLICT ({keys}) DO UPDATE SET {facts} WHERE {changed}"
