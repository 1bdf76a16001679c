"""The code location that Dagster loads. Only here is its process configured: settings, logs, console."""

import os

from market_pipeline.build import build_defs
from market_pipeline.dagster_instance.event_batches import store_events_in_batches
from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.nonpublic import code_location_name
from market_pipeline.defs.logging.run_console import write_events_as_lines
from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings

settings = load_settings()
configure_logging(settings)
# For a code server that was started by hand.
os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(settings.dagster_event_batch_size)
write_events_as_lines()
keep_event_log_connections()
store_events_in_batches()
defs = build_defs(settings, location=code_location_name())
