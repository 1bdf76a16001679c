"""What a run writes to standard error of its own: Dagster's events as lines like all others.

Dagster gives every run a logger for the console, which writes coloured text and repeats the package's
lines in it. Another can be chosen in the configuration of a run only, and runs started in the UI have
none, so the function that makes it is replaced, though it is not public. Remove that when the loggers of
`Definitions` hold for every run (`create_log_manager` in dagster/_core/execution/context_creation_job.py).
"""

import logging
from typing import Any

import dagster as dg

from market_pipeline.dagster_instance.nonpublic import replace_console_logger
from market_pipeline.defs.logging.log_fields import run_fields
from market_pipeline.logs import ROOT, LineFormatter, StandardError, root_handler
from market_pipeline.logs.formats import DAGSTER_META, ORIGIN

# To Dagster all but failures is DEBUG. That a run begins and ends is worth a line, what it does on the way
# the package's own lines tell.
_LEVELS = {
    dg.DagsterEventType.RUN_START: logging.INFO,
    dg.DagsterEventType.RUN_SUCCESS: logging.INFO,
    dg.DagsterEventType.RUN_CANCELED: logging.WARNING,
}
_ENDS = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
_SEVERITIES = {dg.AssetCheckSeverity.WARN: logging.WARNING, dg.AssetCheckSeverity.ERROR: logging.ERROR}


def write_events_as_lines() -> None:
    """Replace Dagster's console logger in this process."""
    replace_console_logger(_console_logger)


def _console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    logger = logging.Logger("dagster", context.logger_config["log_level"].upper())
    logger.addHandler(_Events())
    return logger


class _Events(StandardError):
    """Writes the events of one run, and what is logged through Dagster's own loggers in it."""

    _started: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, unless it is below the level of the package's lines or one of them: those are written."""
        line = logging.makeLogRecord({**vars(record), **_shown(record), **self._duration(record)})
        if not hasattr(record, ORIGIN) and line.levelno >= logging.getLogger(ROOT).level:
            handler = root_handler()
            self.setFormatter(handler.formatter if handler else LineFormatter())
            super().emit(line)

    def _duration(self, record: logging.LogRecord) -> dict[str, float]:
        """At the end of a run how long it took."""
        event: dg.DagsterEvent | None = getattr(record, DAGSTER_META)["dagster_event"]
        if event and event.event_type is dg.DagsterEventType.RUN_START:
            self._started = record.created
        if event is None or event.event_type not in _ENDS or self._started is None:
            return {}
        return {"duration_ms": round(1000 * (record.created - self._started), 1)}


def _shown(record: logging.LogRecord) -> dict[str, Any]:
    """What the line of `record` has beside or instead of what Dagster made of it."""
    meta = getattr(record, DAGSTER_META)
    event: dg.DagsterEvent | None = meta["dagster_event"]
    asset = event.asset_key if event else None
    fields = run_fields(meta["run_id"], meta["job_tags"], [asset.path[-1]] if asset else [])
    shown = {**fields, "job": meta["job_name"], "step": meta["step_key"]}
    if event is None:
        return _filled(shown)
    level = _LEVELS.get(event.event_type, record.levelno)
    if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        shown |= {"asset": check.asset_key.path[-1], "check": check.check_name}
        if not check.passed:
            told = f"Check {check.check_name} did not pass: {check.description}"
            shown |= {"msg": told, DAGSTER_META: None}
            level = _SEVERITIES[check.severity]
    error = _error(event)
    if error and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        # Somebody has stopped everything; where the run was at that moment tells nothing.
        error, level = None, logging.WARNING
    shown |= {"event": event.event_type.name, "partition": event.partition or shown.get("partition")}
    shown |= {"exc_text": _text(event, error), "levelno": level, "levelname": logging.getLevelName(level)}
    return _filled(shown)


def _filled(shown: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in shown.items() if value or name == DAGSTER_META}


def _error(event: dg.DagsterEvent) -> Any:
    """What failed; of a run that failed for a step the step's line tells it."""
    data = event.event_specific_data
    return None if getattr(data, "first_step_failure_event", None) else getattr(data, "error", None)


def _text(event: dg.DagsterEvent, error: Any) -> str | None:
    """The traceback of `error` as Dagster shows it, in that of a step without its own rows."""
    if error is None:
        return None
    return getattr(event.event_specific_data, "error_display_string", None) or str(error.to_string())
