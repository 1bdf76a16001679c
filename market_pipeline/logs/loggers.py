"""The loggers of the package, whose records hold no secret when the first handler sees them.

A filter of a logger comes before every handler: ours, Dagster's that keeps lines for its UI, pytest's.
"""

import logging
import traceback
from typing import TYPE_CHECKING

from market_pipeline.logs.secrets import masker

if TYPE_CHECKING:
    from logging import _SysExcInfoType

ROOT = "market_pipeline"

# Marks a record as the package's own, also where Dagster writes it again under another name.
ORIGIN = "market_pipeline_logger"

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def get_logger(name: str) -> logging.Logger:
    """The logger of a module; give it `__name__`."""
    logger = logging.getLogger(name)
    logger.addFilter(_masking)
    return logger


class _Masking(logging.Filter):
    """Hides secrets in message, arguments, extras, exception and stack of each record; drops none."""

    def filter(self, record: logging.LogRecord) -> bool:
        hide = masker()
        record.msg, record.args = hide.text(message_of(record)), ()
        for name in record.__dict__.keys() - _STANDARD:
            value = record.__dict__[name]
            if value is not None and not isinstance(value, (int, float)):
                record.__dict__[name] = hide.named(name, value)
        if record.exc_info:
            record.exc_text = hide.text(traceback_of(record.exc_info))
        if record.stack_info:
            record.stack_info = hide.text(record.stack_info)
        setattr(record, ORIGIN, record.name)
        return True


def message_of(record: logging.LogRecord) -> str:
    """The words of `record`; a line that cannot be put together must not end the work it tells of."""
    try:
        return record.getMessage()
    except Exception as error:  # whatever an object's own code may raise
        return f"{masker().plain(record.msg)} (its arguments do not fit: {type(error).__name__})"


def traceback_of(error: "_SysExcInfoType") -> str:
    """The traceback of `error` as Python shows it."""
    try:
        return "".join(traceback.format_exception(*error)).rstrip("\n")
    except Exception as another:  # an exception's own code is as good as any
        return f"{error[0]} (its traceback cannot be shown: {type(another).__name__})"


_masking = _Masking()
