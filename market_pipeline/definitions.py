"""The code location that Dagster loads. Only here is its process configured: settings, logs, console."""

import gc
import os

from market_pipeline.build import build_defs
from market_pipeline.core.clock import utc_now
from market_pipeline.dagster_instance.event_batches import store_events_in_batches
from market_pipeline.dagster_instance.event_log import keep_event_log_connections
from market_pipeline.dagster_instance.nonpublic import code_location_name, keep_reporting_dead_runs
from market_pipeline.defs.logging.run_console import write_events_as_lines
from market_pipeline.logs import configure_logging, get_logger
from market_pipeline.pipeline.partition_counts import MOST_PARTITIONS, partition_counts, too_many
from market_pipeline.settings import load_settings

settings = load_settings()
configure_logging(settings)
if "DAGSTER_EVENT_BATCH_SIZE" not in os.environ:
    # A code server that was started by hand, such as by `dagster dev`: our commands set it, and have warned.
    counts = partition_counts(settings, utc_now())
    if counts.in_a_year > MOST_PARTITIONS:
        get_logger(__name__).warning("%s. %s", *too_many(settings, counts))
os.environ["DAGSTER_EVENT_BATCH_SIZE"] = str(settings.dagster_event_batch_size)
write_events_as_lines()
keep_event_log_connections()
store_events_in_batches()
keep_reporting_dead_runs()
defs = build_defs(settings, location=code_location_name())
# What is loaded stays until the process ends. Searching it for garbage, the last time at the end, took a quarter of the
# processor time of a run.
gc.freeze()
