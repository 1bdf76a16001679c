"""`market-pipeline migrate`: bring the tables of DATABASE_URL to the revision this version needs."""

import argparse

from market_pipeline.commands.start import command_settings
from market_pipeline.logs import get_logger
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema.migrate import REVISION, migrate

logger = get_logger(__name__)


def execute(options: argparse.Namespace) -> int:
    """Migrate and say so."""
    settings = command_settings()
    database = Database(settings.database, settings.catalogue.ids)
    try:
        migrate(database)
    finally:
        database.dispose()
    logger.info("Database is at revision %s", REVISION, extra={"database": str(settings.database)})
    return 0
