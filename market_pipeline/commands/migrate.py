"""`market-pipeline migrate`: bring the tables of DATABASE_URL to the revision this version needs."""

import argparse

from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import REVISION, migrate

logger = get_logger(__name__)


def execute(options: argparse.Namespace) -> int:
    """Migrate and say so."""
    settings = load_settings()
    configure_logging(settings)
    database = Database(settings.database, settings.catalogue.ids)
    try:
        migrate(database)
    finally:
        database.dispose()
    logger.info("Database is at revision %s", REVISION, extra={"database": str(settings.database)})
    return 0
