"""The one configuration of logs for every process: commands, Dagster's code server and runs, the API."""

import logging
import sys
import threading
from collections.abc import Iterable
from types import TracebackType
from typing import TYPE_CHECKING

from market_pipeline.logs.formats import FORMATTERS
from market_pipeline.logs.handlers import DAGSTER_LOGGERS, OWN, RootHandler, root_handler
from market_pipeline.logs.loggers import ROOT, get_logger
from market_pipeline.logs.secrets import keep_secret
from market_pipeline.masking import secrets_of

if TYPE_CHECKING:
    from market_pipeline.settings import Settings


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
