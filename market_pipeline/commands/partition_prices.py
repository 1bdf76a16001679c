"""Give `raw_prices` a partition for each month, on PostgreSQL."""

import sys
import time

import click

from market_pipeline.commands.start import command_settings, confirmed, database_of
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline.storage.schema.monthly import BEFORE, CONTINUE, TABLE, partition_by_month, remove_copy


def execute(*, yes: bool, cancel: bool) -> int:
    """Partition the table, or remove an interrupted copy, and print what was done; return 0."""
    database = database_of(command_settings())
    if database.dialect != "postgresql":
        raise click.UsageError(f"{database.url} is a SQLite file; only tables of PostgreSQL have partitions")
    check_schema(database)
    if not cancel:
        click.echo(f"{TABLE} of {database.url} is copied into a table with a partition for each month.")
        if not confirmed(yes):
            return 0
    with exclusive(database, "partition-prices", _say_waiting):
        click.echo(_cancel(database) if cancel else _partition(database))
    return 0


def _cancel(database: Database) -> str:
    return f"The copy of {TABLE} is removed." if remove_copy(database) else f"There is no copy of {TABLE} to remove."


def _partition(database: Database) -> str:
    started = time.monotonic()
    try:
        done = partition_by_month(database, _show)
    except BaseException:
        click.echo(f"{TABLE} is as it was. {CONTINUE}", err=True)
        raise
    if not done:
        return f"{TABLE} has its partitions already."
    return (
        f"Done in {time.monotonic() - started:,.0f} s. Once you are content with it, drop the table as it was: "
        f"DROP TABLE {BEFORE};"
    )


def _say_waiting() -> None:
    click.echo("Waiting for another process that copies the table.", err=True)


def _show(rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows:,} rows", err=True, nl=False)
