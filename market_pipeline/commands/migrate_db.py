"""Move the stored data to another database: all tables, compared at the end, and on request the partitions."""

import sys
from collections.abc import Sequence
from pathlib import Path

import click
from pydantic import SecretStr
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from sqlalchemy.engine import URL, make_url

from market_pipeline.commands.start import command_settings, confirmed
from market_pipeline.core.wording import counted, some
from market_pipeline.dagster_instance.home import create_instance, current_home, default_home, own_home
from market_pipeline.dagster_instance.instance_storage import FILES, InstanceStorage, storage_of
from market_pipeline.dagster_instance.partition_copy import copy_partition, instance_of, partitions_to_copy
from market_pipeline.defs.assets.daily_bars import DAILY_BARS
from market_pipeline.defs.assets.price_anomalies import PRICE_ANOMALIES
from market_pipeline.defs.assets.raw_prices import RAW_PRICES, REJECTED_PRICES
from market_pipeline.settings import Settings
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
_AGAIN = "Stop what collects into the source and run the same command again: it copies only what differs."


def execute(source_url: str | None, target_url: str | None, *, partitions: bool, yes: bool) -> int:
    """Copy and compare; return 0 if both databases hold the same rows, else 1."""
    settings = command_settings()
    source = Database(_url(source_url, "--from") if source_url else settings.database)
    target = Database(_url(target_url, "--to") if target_url else settings.database)
    try:
        if not (partitions and source.url == target.url) and (code := _copy_tables(source, target, yes)) is not None:
            return code
    finally:
        source.dispose()
        target.dispose()
    if partitions:
        _copy_partitions(_storage(settings, source.url), _storage(settings, target.url))
    click.echo(f"Now set DATABASE_URL to the target: {target.url}")
    return 0


def _copy_tables(source: Database, target: Database, yes: bool) -> int | None:
    """Copy and compare all tables; return the exit code of a command that ends here."""
    parts = parts_of(source)
    rows = sum(part.rows for part in parts)
    click.echo(f"{counted(rows, 'row')} in {counted(len(parts), 'part')}: from {source.url} to {target.url}.")
    click.echo("Stop what writes to either, such as `market-pipeline run`: a complete copy is not repeated.")
    if not confirmed(yes):
        return 0
    prepare(source, target, parts)
    if different := [found for found in _copied(source, target, parts) if not found.equal]:
        _print_differences(different)
        return 1
    if changed := set(parts_of(source)) ^ set(parts):
        names = some(sorted({str(part) for part in changed}))
        click.echo(f"Rows came or went in the source since they were copied: {names}. {_AGAIN}")
        return 1
    finish(target)
    click.echo("Both databases hold the same rows.")
    return None


def _url(text: str, option: str) -> URL:
    try:
        return make_url(normalise_database_url(SecretStr(text)).get_secret_value())
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint=option) from None


def _storage(settings: Settings, url: URL) -> InstanceStorage:
    """Return where Dagster stores beside the database at `url`."""
    with_password = SecretStr(url.render_as_string(hide_password=False))
    return storage_of(settings.model_copy(update={"database_url": with_password}))


def _copy_partitions(source: InstanceStorage, target: InstanceStorage) -> None:
    """Report the partitions of `source` to `target`; from the files in DAGSTER_HOME if the source is the target."""
    if source == target:
        source = FILES
    home = current_home()
    if source == target or (source == FILES and not (home / "history").exists()):
        raise click.UsageError(f"Dagster has no other storage from which partitions could be copied: {home} has none")
    with own_home(home, target, ours=home == default_home(Path.cwd())):
        create_instance(home, target, copies_partitions=True)
        with instance_of(home, source) as old, instance_of(home, target) as new:
            missing = partitions_to_copy(old, new, (RAW_PRICES, REJECTED_PRICES, PRICE_ANOMALIES, DAILY_BARS))
            with click.progressbar(missing, label="Partitions", file=sys.stderr, hidden=not missing) as bar:
                for one in bar:
                    copy_partition(old, new, one)
    click.echo(f"{counted(len(missing), 'partition')} reported to Dagster; its former runs stay in {home}.")


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
    click.echo(f"These were written while they were copied. {_AGAIN}")
