"""Logging as it was: what a test configures must not reach the next one."""

import logging
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from market_pipeline.logs import redaction

_NAMES = ("", "market_pipeline", "uvicorn", "dagster", "py.warnings")


@contextmanager
def restored() -> Iterator[None]:
    """Handlers, levels, hooks and secrets after the block are those before it."""
    loggers = [logging.getLogger(name) for name in _NAMES]
    before = [(list(logger.handlers), logger.level) for logger in loggers]
    formatters = [(handler, handler.formatter, handler.level) for handlers, _ in before for handler in handlers]
    hooks = sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning
    masker = redaction._masker
    try:
        yield
    finally:
        for logger, (handlers, level) in zip(loggers, before, strict=True):
            logger.handlers[:] = handlers
            logger.setLevel(level)
        for handler, formatter, level in formatters:
            handler.setFormatter(formatter)
            handler.setLevel(level)
        logging.captureWarnings(False)
        sys.excepthook, threading.excepthook, sys.unraisablehook, warnings.showwarning = hooks
        redaction._masker = masker
