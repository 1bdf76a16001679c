"""Where lines go: standard error, each once."""

import logging
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from market_pipeline.logs.formats import DAGSTER_META, LineFormatter
from market_pipeline.logs.loggers import ORIGIN, ROOT

# What LOG_LEVEL is about; of other libraries only warnings are of interest.
OWN = (ROOT, "uvicorn")
# Dagster's commands give handlers to these.
DAGSTER_LOGGERS = ("dagster", "dagit", "dagster-webserver")


class StandardError(logging.Handler):
    """Writes to what standard error is at the time: a progress bar puts a stream of its own there."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; one that cannot be formatted is told of without its words, which may be secret."""
        try:
            line = self.format(record)
        except Exception as error:  # a line must not end the work it tells of
            told = f"A line of {record.name} cannot be shown: {type(error).__name__}"
            line = self.format(logging.LogRecord(ROOT, logging.ERROR, record.pathname, 0, told, (), None))
        self.write(line)

    def write(self, line: str) -> None:
        """Write a finished line; where nobody reads standard error any more it is dropped."""
        stream = sys.stderr
        if stream is None:
            return
        self.acquire()
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            # A closed terminal or pipe: there is nowhere left to say so.
            pass
        finally:
            self.release()


class RootHandler(StandardError):
    """The lines of the package from the level of its loggers on, warnings of everybody else."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether `record` is to be written, and nobody else has."""
        own = record.name.partition(".")[0] in OWN
        if not own and (record.levelno < logging.WARNING or _written_by_dagster(record)):
            return False
        return bool(super().filter(record))


def _written_by_dagster(record: logging.LogRecord) -> bool:
    """Whether a run has captured the record, or a command of Dagster's has a handler for its loggers."""
    if hasattr(record, DAGSTER_META) and not hasattr(record, ORIGIN):
        return True
    top = record.name.partition(".")[0]
    return top in DAGSTER_LOGGERS and bool(logging.getLogger(top).handlers)


def root_handler() -> RootHandler | None:
    """The handler of this process, if logging is configured."""
    return next((it for it in logging.getLogger().handlers if isinstance(it, RootHandler)), None)


def write_line(fields: Mapping[str, Any]) -> None:
    """Write a line of another process, whose `fields` are those of a line, as this process writes its own."""
    handler = root_handler()
    formatter = handler.formatter if handler else None
    if handler and isinstance(formatter, LineFormatter):
        handler.write(formatter.jsonify_log_record(dict(fields)))


@contextmanager
def at_least(level: int) -> Iterator[None]:
    """Only lines of `level` and above go to standard error in this block; other handlers get them all."""
    handler = root_handler()
    before = handler.level if handler else None
    if handler:
        handler.setLevel(level)
    try:
        yield
    finally:
        if handler and before is not None:
            handler.setLevel(before)
