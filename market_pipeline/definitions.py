"""The code location that Dagster loads: settings and logs of this process, then `defs`."""

from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext

from market_pipeline.build import build_defs
from market_pipeline.defs.logging.run_console import write_events_as_lines
from market_pipeline.logs import configure_logging
from market_pipeline.settings import load_settings

_settings = load_settings()
configure_logging(_settings)
write_events_as_lines()
# The server of the code location knows its name; a command that loads this module has none.
defs = build_defs(_settings, DefinitionsLoadContext.get().code_location_name)
