"""Structured logs: one line per event on standard error, with a trace id and without secrets.

Modules log through `get_logger(__name__)` and put ids into `extra`. Fields of the current work (trace id, run,
asset, partition, symbol, client) are bound once in a context variable. Every process calls `configure_logging` once.
"""

from market_pipeline.logs.configuration import (
    StandardError,
    at_least,
    configure_logging,
    diverted,
    is_terminal,
    log_to_stderr,
    root_handler,
    write_line,
)
from market_pipeline.logs.context import apart, bind, bound, current_trace_id
from market_pipeline.logs.formats import ROOT, LineFormatter, get_logger, one_line

__all__ = [
    "ROOT",
    "LineFormatter",
    "StandardError",
    "apart",
    "at_least",
    "bind",
    "bound",
    "configure_logging",
    "current_trace_id",
    "diverted",
    "get_logger",
    "is_terminal",
    "log_to_stderr",
    "one_line",
    "root_handler",
    "write_line",
]
