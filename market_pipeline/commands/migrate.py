"""`market-pipeline migrate`: bring the tables of DATABASE_URL to the revision this version needs."""

import argparse
import logging

from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import REVISION, migrate

log = logging.getLogger(__name__)


def execute(options: argparse.Namespace) -> int:
    """Migrate and say so."""
    settings = load_settings()
    configure_logging(settings.log_level)
    migrate(Database(settings.database))
    log.info("Database is at revision %s", REVISION, extra={"database": str(settings.database)})
    return 0
