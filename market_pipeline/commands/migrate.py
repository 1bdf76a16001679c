"""Create or update the tables of both stores: the step before a deployment's processes start."""

from market_pipeline.commands.start import command_settings, database_of, warn_of_partitions
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.clock_jumps import forget_future_evaluations
from market_pipeline.dagster_instance.home import checked_home, open_instance, ready_home
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.ownership import owner_of
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.names import automations
from market_pipeline.storage.schema.migrate import REVISION, migrate

logger = get_logger(__name__)


def execute() -> None:
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
