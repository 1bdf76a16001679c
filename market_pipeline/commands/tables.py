"""Create or update the tables of both stores; give those of the prices a partition for each month, on PostgreSQL."""

import sys
import time

import click

from market_pipeline.commands.start import command_settings, confirmed, database_of, warn_of_partitions
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.clock_jumps import forget_future_evaluations
from market_pipeline.dagster_instance.home import checked_home, open_instance, ready_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.names import automations
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.schema.migrate import REVISION, check_schema, migrate
from market_pipeline.storage.schema.monthly import BEFORE, CONTINUE, TABLE, partition_by_month, remove_copy

logger = get_logger(__name__)


def migrate_stores() -> None:
    """Migrate the prices, and Dagster's storage where that is in PostgreSQL."""
    settings = command_settings()
    warn_of_partitions(settings)
    database, storage = database_of(settings), storage_of(settings)
    if storage.url is not None:
        checked_home(storage)
    try:
        migrate(database)
    finally:
        database.dispose()
    if storage.url is not None:
        with open_instance(ready_home(storage), storage) as instance:
            automatic = automations(settings.collect_cron)
            forget_future_evaluations(instance, owner_of(settings), automatic, utc_now())
    logger.info("Database is at revision %s", REVISION, extra={"database": str(settings.database)})


def partition_table(*, yes: bool, cancel: bool) -> int:
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
