"""Delete old runs now, or print what would be deleted."""

import click

from market_pipeline.commands.start import command_settings, database_of
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.home import checked_home, open_instance, ready_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import located, owner_of
from market_pipeline.defs.assets.storage_retention import retain
from market_pipeline.storage.schema.migrate import check_schema


def execute(*, dry_run: bool) -> int:
    """Return 0; errors propagate."""
    settings = command_settings()
    storage = storage_of(settings)
    click.echo(f"DAGSTER_HOME is {checked_home(storage)}.")
    database = database_of(settings)
    check_schema(database)
    with open_instance(ready_home(storage), storage) as instance:
        location = located(instance, owner_of(settings)).location
        numbers = retain(instance, settings, database, location, utc_now(), dry_run=dry_run)
    click.echo(numbers.pop("summary"))
    for name, value in numbers.items():
        if name != "dry_run":
            click.echo(f"  {name}: {value:,}" if isinstance(value, int) else f"  {name}: {value}")
    return 0
