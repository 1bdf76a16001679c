"""Configure logging for any process: commands, Dagster's code server and runs, the API, the simulator."""

import logging
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import TracebackType
from typing import TYPE_CHECKING, Any

from market_pipeline.logs.formats import DAGSTER_META, FORMATTERS, ORIGIN, ROOT, LineFormatter, get_logger
from market_pipeline.logs.redaction import keep_secret, secrets_of

if TYPE_CHECKING:
    from market_pipeline.settings import Settings


# LOG_LEVEL applies to these; other libraries log from WARNING on.
OWN = (ROOT, "uvicorn")
# Dagster's commands attach handlers to these.
DAGSTER_LOGGERS = ("dagster", "dagit", "dagster-webserver")


class StandardError(logging.Handler):
    """Write to the current `sys.stderr`, which a progress bar may have replaced."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`; report one that cannot be formatted without its text, which may hold secrets."""
        try:
            line = self.format(record)
        except Exception as error:  # a line must not end the work that it logs
            message = f"A line of {record.name} cannot be shown: {type(error).__name__}"
            line = self.format(logging.LogRecord(ROOT, logging.ERROR, record.pathname, 0, message, (), None))
        self.write(line)

    def write(self, line: str) -> None:
        """Write a finished line; drop it if standard error is closed."""
        stream = sys.stderr
        if stream is None:
            return
        self.acquire()
        try:
            stream.write(line + "\n")
            stream.flush()
        except (OSError, ValueError):
            pass  # a closed terminal or pipe: there is nowhere left to report it
        finally:
            self.release()


class RootHandler(StandardError):
    """Write the package's records at their loggers' level, and warnings of all other libraries.

    With a `target`, finished lines go there instead of standard error.
    """

    target: Callable[[str], None] | None = None

    def write(self, line: str) -> None:
        """Write a finished line to the target, else to standard error."""
        if self.target is None:
            super().write(line)
            return
        self.acquire()
        try:
            self.target(line)
        except Exception:  # a closed terminal, or a child's line with other fields: neither must end what is logged
            pass
        finally:
            self.release()

    def filter(self, record: logging.LogRecord) -> bool:
        """Accept a record that belongs here and that no handler of Dagster has written."""
        own = record.name.partition(".")[0] in OWN
        if not own and (record.levelno < logging.WARNING or _written_by_dagster(record)):
            return False
        return bool(super().filter(record))


def _written_by_dagster(record: logging.LogRecord) -> bool:
    """Return whether a run has captured the record, or a Dagster command has its own handler for it."""
    if hasattr(record, DAGSTER_META) and not hasattr(record, ORIGIN):
        return True
    top = record.name.partition(".")[0]
    return top in DAGSTER_LOGGERS and bool(logging.getLogger(top).handlers)


def root_handler() -> RootHandler | None:
    """Return this process's handler, or None if logging is not configured."""
    return next((it for it in logging.getLogger().handlers if isinstance(it, RootHandler)), None)


def write_line(fields: Mapping[str, Any]) -> None:
    """Write the line of another process, given its `fields`, in this process's format."""
    handler = root_handler()
    formatter = handler.formatter if handler else None
    if handler and isinstance(formatter, LineFormatter):
        handler.write(formatter.jsonify_log_record(dict(fields)))


@contextmanager
def diverted(target: Callable[[str], None]) -> Iterator[None]:
    """Give every line of this block, as JSON, to `target` instead of standard error."""
    handler = root_handler()
    if handler is None:
        yield
        return
    before = handler.formatter
    handler.setFormatter(LineFormatter())
    handler.target = target
    try:
        yield
    finally:
        handler.target = None
        handler.setFormatter(before)


@contextmanager
def at_least(level: int) -> Iterator[None]:
    """Write only records of `level` and above to standard error in this block; other handlers get all."""
    handler = root_handler()
    before = handler.level if handler else None
    if handler:
        handler.setLevel(level)
    try:
        yield
    finally:
        if handler and before is not None:
            handler.setLevel(before)


def is_terminal() -> bool:
    """Return whether standard error is a terminal, with a person before it."""
    return sys.stderr is not None and sys.stderr.isatty()


def configure_logging(settings: "Settings") -> None:
    """Log to standard error as `settings` say, without the secrets that they hold."""
    log_to_stderr(settings.log_level, settings.log_format, secrets_of(settings))


def log_to_stderr(level: str, log_format: str, secrets: Iterable[str] = ()) -> None:
    """Log `level` and above to standard error, without `secrets`.

    The format is `json`, `console`, or `auto`: sentences for a person on a terminal, else JSON.
    Python warnings and uncaught errors become lines too. The last call wins; secrets of earlier calls stay hidden.
    """
    keep_secret(secrets)
    chosen = ("terminal" if is_terminal() else "json") if log_format == "auto" else log_format
    formatter = FORMATTERS[chosen]()
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
    # Keep the hooks of notebooks and test runners, but not that of the exceptiongroup backport (Python 3.10).
    if sys.excepthook is sys.__excepthook__ or sys.excepthook.__module__.startswith("exceptiongroup"):
        sys.excepthook = _log_uncaught
    if threading.excepthook is threading.__excepthook__:
        threading.excepthook = _log_uncaught_in_thread
    if sys.unraisablehook is sys.__unraisablehook__:
        sys.unraisablehook = _log_unraisable


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        get_logger(ROOT).warning("Interrupted.")
    else:
        get_logger(ROOT).critical("Uncaught error", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: threading.ExceptHookArgs) -> None:
    if args.exc_value is not None and not issubclass(args.exc_type, SystemExit):
        name = args.thread.name if args.thread else "unknown"
        error = (args.exc_type, args.exc_value, args.exc_traceback)
        get_logger(ROOT).critical("Uncaught error in thread %s", name, exc_info=error)


def _log_unraisable(args: "sys.UnraisableHookArgs") -> None:
    """Log an error that cannot be raised: in `__del__`, for instance, or at interpreter exit."""
    error = (args.exc_type, args.exc_value, args.exc_traceback) if args.exc_value else None
    get_logger(ROOT).error("%s: %s", args.err_msg or "Exception ignored in", args.object, exc_info=error)
