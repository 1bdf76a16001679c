"""Structured logs: one line an event on standard error, with the trace id of the work at hand, without secrets.

Modules log through `get_logger(__name__)` and put ids into `extra`. What belongs to the work as a
whole - trace id, run, asset, partition, symbol, client - is bound once in a context variable, so
nothing has to pass it along. Every process calls `configure_logging` once.
"""

from market_pipeline.logs.configuration import (
    StandardError,
    at_least,
    configure_logging,
    log_to_stderr,
    root_handler,
    write_line,
)
from market_pipeline.logs.context import apart, bind, bound, current_trace_id
from market_pipeline.logs.formats import ROOT, LineFormatter, get_logger

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
    "get_logger",
    "log_to_stderr",
    "root_handler",
    "write_line",
]
