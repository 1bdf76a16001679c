"""The one configuration of logs for every process: commands, Dagster's code server and runs, the API."""

import logging
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from market_pipeline.logs.formats import DAGSTER_META, FORMATTERS, ORIGIN, ROOT, LineFormatter, get_logger
from market_pipeline.logs.redaction import keep_secret, secrets_of

if TYPE_CHECKING:
    from market_pipeline.settings import Settings


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


def configure_logging(settings: "Settings") -> None:
    """Send log lines to standard error as `settings` say, without the secrets that they hold."""
    log_to_stderr(settings.log_level, settings.log_format, secrets_of(settings))


def log_to_stderr(level: str, log_format: str, secrets: Iterable[str] = ()) -> None:
    """Send log lines of `level` and above to standard error as `json` or `console`, without `secrets`.

    Warnings of other libraries and errors that nobody caught come out as lines too. The last call of
    a process counts; secrets of earlier ones stay hidden.
    """
    keep_secret(secrets)
    formatter = FORMATTERS[log_format]()
    for name in OWN:
        logging.getLogger(name).setLevel(level)
    handler = root_handler()
    if handler is None:
        handler = RootHandler()
        logging.getLogger().addHandler(handler)
    handler.setFormatter(formatter)
    for name in DAGSTER_LOGGERS:
        for other in logging.getLogger(name).handlers:
            other.setFormatter(formatter)
    logging.captureWarnings(True)
    # Notebooks and test runners have hooks of their own. That of exceptiongroup, which Python 3.10 needs to
    # show groups of errors, is for the terminal only.
    if sys.excepthook is sys.__excepthook__ or sys.excepthook.__module__.startswith("exceptiongroup"):
        sys.excepthook = _log_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        get_logger(ROOT).warning("Interrupted.")
    else:
        get_logger(ROOT).critical("An error that nobody caught", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(told: threading.ExceptHookArgs) -> None:
    if told.exc_value is not None and not issubclass(told.exc_type, SystemExit):
        name = told.thread.name if told.thread else "unknown"
        get_logger(ROOT).critical(
            "An error that nobody caught in thread %s", name,
            exc_info=(told.exc_type, told.exc_value, told.exc_traceback),
        )  # fmt: skip


def _log_unraisable(told: "sys.UnraisableHookArgs") -> None:
    """An error where nobody could catch it: in `__del__`, say, or while the process ends."""
    error = (told.exc_type, told.exc_value, told.exc_traceback) if told.exc_value else None
    get_logger(ROOT).error("%s: %s", told.err_msg or "Exception ignored in", told.object, exc_info=error)
