"""Move the stored data to another database: all tables, part by part, compared at the end."""

from collections.abc import Sequence

import click
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy.engine import make_url

from market_pipeline.commands.start import command_settings, confirmed
from market_pipeline.core.wording import counted
from market_pipeline.settings_validators import normalise_database_url
from market_pipeline.storage.copy import Comparison, Part, copy_part, finish, parts_of, prepare
from market_pipeline.storage.engine import Database

_COLUMNS = (
    TextColumn("{task.completed:,.0f} of {task.total:,.0f} rows"),
    BarColumn(bar_width=30),
    TextColumn("{task.fields[part]}"),
    TimeElapsedColumn(),
    TimeRemainingColumn(),
)


def execute(source_url: str, target_url: str | None, *, yes: bool) -> int:
    """Copy and compare; return 0 if both databases hold the same rows, else 1."""
    settings = command_settings()
    source = _database(source_url, "--from")
    target = _database(target_url, "--to") if target_url else Database(settings.database)
    try:
        parts = parts_of(source)
        rows = sum(part.rows for part in parts)
        click.echo(f"{counted(rows, 'row')} in {counted(len(parts), 'part')}: from {source.url} to {target.url}.")
        click.echo("Stop what writes to either, such as `market-pipeline run`, or run this command again afterwards.")
        if not confirmed(yes):
            return 0
        prepare(source, target, parts)
        different = [found for found in _copied(source, target, parts) if not found.equal]
        if different:
            _print_differences(different)
            return 1
        finish(target)
    finally:
        source.dispose()
        target.dispose()
    click.echo(f"Both databases hold the same rows. Now set DATABASE_URL to the target: {target.url}")
    return 0


def _database(text: str, option: str) -> Database:
    try:
        url = normalise_database_url(SecretStr(text)).get_secret_value()
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None
    return Database(make_url(url))


def _copied(source: Database, target: Database, parts: Sequence[Part]) -> list[Comparison]:
    """Copy all parts and print a line for each table, with a bar on a terminal."""
    console = Console(stderr=True)
    found: list[Comparison] = []
    with Progress(*_COLUMNS, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("", total=sum(part.rows for part in parts), part="")
        for part in parts:
            bar.update(task, part=str(part))
            found.append(copy_part(source, target, part))
            bar.advance(task, part.rows)
    click.echo(f"{'rows':>14}  {'digest':16}  part")
    for one in found:
        note = "" if one.equal else "  differs"
        click.echo(f"{one.target.rows:>14,}  {one.target.digest}  {one.part}{note}")
    return found


def _print_differences(different: list[Comparison]) -> None:
    for one in different:
        click.echo(f"{one.part}: {one.source.rows:,} rows in the source, {one.target.rows:,} in the target")
    click.echo(
        "These were written while they were copied. Stop what collects into the source and run the same command again: "
        "it copies only what differs."
    )
