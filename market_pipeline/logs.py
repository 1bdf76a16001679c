"""Structured logs: one JSON object a line on standard error, with the trace id of the work at hand.

Modules log through `logging.getLogger(__name__)` and put ids into `extra`; the trace id comes from
a context variable, so nothing has to pass it along. In a Dagster run it is the run id.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from market_pipeline.clock import iso, utc_now

ROOT = "market_pipeline"

_trace_id: ContextVar[str | None] = ContextVar("trace_id", default=None)


@contextmanager
def traced(trace_id: str) -> Iterator[None]:
    """Every log line of this block carries `trace_id`."""
    token = _trace_id.set(trace_id)
    try:
        yield
    finally:
        _trace_id.reset(token)


class LineFormatter(JsonFormatter):
    """A log record as one JSON object: time (UTC), level, logger, message, trace id and extras."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data.update(timestamp=iso(utc_now()), level=record.levelname, logger=record.name)
        super().add_fields(log_data, record, message_dict)
        if (trace_id := _trace_id.get()) is not None:
            log_data["trace_id"] = trace_id


def configure_logging(level: str) -> None:
    """Send this package's log lines of `level` and above to standard error, once per process."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    if not any(isinstance(handler.formatter, LineFormatter) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter("%(message)s"))
        logger.addHandler(handler)
