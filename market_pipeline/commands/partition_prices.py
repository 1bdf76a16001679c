"""Give `raw_prices` a partition for each month, on PostgreSQL."""

import sys
import time

import click

from market_pipeline.commands.start import command_settings, confirmed, database_of
from market_pipeline.storage.schema.migrate import check_schema
from market_pipeline.storage.schema.monthly import BEFORE, TABLE, partition_by_month


def execute(*, yes: bool) -> int:
    """Partition the table and print what was done; return 0, also where it was done before."""
    database = database_of(command_settings())
    if database.dialect != "postgresql":
        raise click.UsageError(f"{database.url} is a SQLite file; only tables of PostgreSQL have partitions")
    check_schema(database)
    click.echo(f"{TABLE} of {database.url} is copied into a table with a partition for each month.")
    if not confirmed(yes):
        return 0
    started = time.monotonic()
    if not partition_by_month(database, _show):
        click.echo(f"{TABLE} has its partitions already.")
        return 0
    click.echo(
        f"Done in {time.monotonic() - started:,.0f} s. Once you are content with it, drop the table as it was: "
        f"DROP TABLE {BEFORE};"
    )
    return 0


def _show(rows: int) -> None:
    if sys.stderr.isatty():
        click.echo(f"\r{rows:,} rows", err=True, nl=False)
