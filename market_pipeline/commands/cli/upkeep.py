"""Commands over the installation: examine, upgrade, move, clean up."""

import logging
import os
import shutil
import sys
from pathlib import Path

import click

from market_pipeline.commands.cli.parameters import WIDEST, demo_option, examples, notice, yes_option


@click.command(epilog=examples("doctor", "doctor --json", "doctor --demo"))
@demo_option
@click.option("--json", "as_document", is_flag=True, help="Print one JSON document instead of lines.")
def doctor(as_document: bool) -> int:
    """Examine the installation and print what to do.

    Examines settings, database, API, budget, Dagster and stored data. The exit code is 1 if anything failed.
    """
    with notice("Examining the installation ..."):
        from market_pipeline.commands.demo_data import simulated_source
        from market_pipeline.doctor.report import as_json, as_text, make_report

        # The report contains what would be logged on the way.
        logging.disable(logging.CRITICAL)
        try:
            with simulated_source():
                report = make_report(Path.cwd(), os.environ)
        finally:
            logging.disable(logging.NOTSET)
    if as_document:
        click.echo(as_json(report), nl=False)
    else:
        coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        width = min(shutil.get_terminal_size((WIDEST, 24)).columns, WIDEST)
        click.echo(as_text(report, width, coloured), nl=False, color=coloured)
    return 1 if report.status == "fail" else 0


@click.command(epilog=examples("migrate"))
def migrate() -> None:
    """Create or update the tables of DATABASE_URL.

    Creates those of Dagster, too, if they are in PostgreSQL.
    """
    from market_pipeline.commands.tables import migrate_stores as execute

    execute()


@click.command(
    "migrate-db",
    epilog=examples(
        "migrate-db --from sqlite:///prices.db --partitions",
        "migrate-db --to postgresql://market@db.example.org/market",
    )
)
@click.option(
    "--from", "source", metavar="URL", help="The database to copy; it is only read.  [default: DATABASE_URL]"
)
@click.option("--to", "target", metavar="URL", help="An empty database.  [default: DATABASE_URL]")
@click.option("--partitions", is_flag=True, help="Also report the materialized partitions to Dagster's new storage.")
@yes_option
def migrate_db(source: str | None, target: str | None, partitions: bool, yes: bool) -> int:
    """Copy all tables to another database.

    Between SQLite and PostgreSQL, in any direction. Rows are counted and compared by digest, per table, symbol and
    year. The command can be interrupted at any time; the same command continues, and copies again what has changed in
    the source since. A password is better left to PGPASSWORD, ~/.pgpass or DATABASE_URL than written here, where other
    users see it.
    """
    from market_pipeline.commands.migrate_db import execute

    if source is None and target is None and not partitions:
        raise click.UsageError("name the other database with --from or --to")
    return execute(source, target, partitions=partitions, yes=yes)


@click.command(epilog=examples("partition-prices", "partition-prices --cancel"))
@click.option("--cancel", is_flag=True, help="Remove an interrupted copy instead.")
@yes_option
def partition_prices(cancel: bool, yes: bool) -> int:
    """Give raw_prices monthly partitions on PostgreSQL.

    Works while the pipeline runs; interrupted, the same command continues. The table that was there is kept as
    raw_prices_before, which needs as much disk again until you drop it.
    """
    from market_pipeline.commands.tables import partition_table as execute

    return execute(yes=yes, cancel=cancel)


@click.command(epilog=examples("retention --dry-run", "retention"))
@click.option("--dry-run", is_flag=True, help="Print what would be deleted and change nothing.")
def retention(dry_run: bool) -> int:
    """Delete old runs from Dagster's storage.

    The same is done every night. A run goes if it ended more than RUNS_KEEP_DAYS ago and every materialization and
    check in it has a newer successor. If RAW_PRICES_KEEP_DAYS is set, older prices are thinned to one an hour.
    """
    from market_pipeline.commands.retention import execute

    return execute(dry_run=dry_run)


UPKEEP: tuple[click.Command, ...] = (doctor, migrate, migrate_db, partition_prices, retention)
