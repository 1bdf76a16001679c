"""Structured logs: one JSON object a line on standard error, with the trace id of the work at hand.

Modules log through `get_logger(__name__)` and put ids into `extra`. What belongs to the work as a
whole - trace id, run, asset, partition, symbol, client - is bound once in a context variable, so
nothing has to pass it along.
"""

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from pythonjsonlogger.json import JsonFormatter

from market_pipeline.clock import iso, utc_now

ROOT = "market_pipeline"

_fields: ContextVar[Mapping[str, Any]] = ContextVar("log_fields", default={})


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; give it `__name__`."""
    return logging.getLogger(name)


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every log line of this block carries `fields`, beside those of the blocks around it."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


@contextmanager
def traced(trace_id: str) -> Iterator[None]:
    """Every log line of this block carries `trace_id`."""
    with bound(trace_id=trace_id):
        yield


def current_trace_id() -> str | None:
    """The trace id of the work at hand; None outside of any."""
    trace_id: str | None = _fields.get().get("trace_id")
    return trace_id


class LineFormatter(JsonFormatter):
    """A log record as one JSON object: time (UTC), level, logger, message, trace id and extras."""

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        log_data.update(timestamp=iso(utc_now()), level=record.levelname, logger=record.name)
        super().add_fields(log_data, record, message_dict)
        for name, value in _fields.get().items():
            log_data.setdefault(name, value)


def configure_logging(level: str) -> None:
    """Send this package's log lines of `level` and above to standard error, once per process."""
    logger = logging.getLogger(ROOT)
    logger.setLevel(level)
    if not any(isinstance(handler.formatter, LineFormatter) for handler in logger.handlers):
        handler = logging.StreamHandler()
        handler.setFormatter(LineFormatter("%(message)s"))
        logger.addHandler(handler)
