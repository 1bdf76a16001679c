"""Dagster's own events of a run as log lines on standard error, in the form of all others.

By default Dagster gives every run a console logger that writes coloured text and repeats the package's lines in it.
"""

import logging
from typing import Any

import dagster as dg

from market_pipeline.dagster_instance.failures import failure_in
from market_pipeline.dagster_instance.nonpublic import replace_console_logger
from market_pipeline.defs.logging.log_fields import run_fields
from market_pipeline.logs import ROOT, LineFormatter, StandardError, root_handler
from market_pipeline.logs.formats import DAGSTER_META, ORIGIN

# Dagster logs everything but failures at DEBUG. The start and the end of a run are worth a line; what happens
# between them is in the package's own lines.
_LEVELS = {
    dg.DagsterEventType.RUN_START: logging.INFO,
    dg.DagsterEventType.RUN_SUCCESS: logging.INFO,
    dg.DagsterEventType.RUN_CANCELED: logging.WARNING,
}
_ENDS = {dg.DagsterEventType.RUN_SUCCESS, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
_SEVERITIES = {dg.AssetCheckSeverity.WARN: logging.WARNING, dg.AssetCheckSeverity.ERROR: logging.ERROR}


def write_events_as_lines() -> None:
    """Replace Dagster's console logger in this process."""
    replace_console_logger(console_logger)


def console_logger(context: dg.InitLoggerContext) -> logging.Logger:
    """Return the console logger of one run."""
    logger = logging.Logger("dagster", context.logger_config["log_level"].upper())
    logger.addHandler(EventHandler())
    return logger


class EventHandler(StandardError):
    """Writes the events of one run, and what is logged through Dagster's own loggers in it."""

    _started: float | None = None

    def emit(self, record: logging.LogRecord) -> None:
        """Write `record`, unless it is below the package's level or is one of its lines: those are written already."""
        line = logging.makeLogRecord({**vars(record), **_line_fields(record), **self._duration(record)})
        if not hasattr(record, ORIGIN) and line.levelno >= logging.getLogger(ROOT).level:
            handler = root_handler()
            self.setFormatter(handler.formatter if handler else LineFormatter())
            super().emit(line)

    def _duration(self, record: logging.LogRecord) -> dict[str, float]:
        """Return how long the run took, at its end."""
        event: dg.DagsterEvent | None = getattr(record, DAGSTER_META)["dagster_event"]
        if event and event.event_type is dg.DagsterEventType.RUN_START:
            self._started = record.created
        if event is None or event.event_type not in _ENDS or self._started is None:
            return {}
        return {"duration_ms": round(1000 * (record.created - self._started), 1)}


def _line_fields(record: logging.LogRecord) -> dict[str, Any]:
    """Return the fields of the line, which replace or complete those of `record`."""
    meta = getattr(record, DAGSTER_META)
    event: dg.DagsterEvent | None = meta["dagster_event"]
    asset = event.asset_key if event else None
    fields = run_fields(meta["run_id"], meta["job_tags"], [asset.path[-1]] if asset else [])
    fields |= {"job": meta["job_name"], "step": meta["step_key"]}
    if event is None:
        return _without_empty(fields)
    level = _LEVELS.get(event.event_type, record.levelno)
    if event.event_type is dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        check = event.asset_check_evaluation_data
        fields |= {"asset": check.asset_key.path[-1], "check": check.check_name}
        if not check.passed:
            message = f"Check {check.check_name} did not pass: {check.description}"
            fields |= {"msg": message, DAGSTER_META: None}
            level = _SEVERITIES[check.severity]
    error = _error(event)
    if error and error.cls_name == dg.DagsterExecutionInterruptedError.__name__:
        # The run was stopped on purpose; its traceback has no information.
        error, level = None, logging.WARNING
    if event.is_step_failure:
        fields |= _failure_fields(event)
    fields |= {"event": event.event_type.name, "partition": event.partition or fields.get("partition")}
    fields |= {"exc_text": _traceback(event, error), "levelno": level, "levelname": logging.getLevelName(level)}
    return _without_empty(fields)


def _failure_fields(event: dg.DagsterEvent) -> dict[str, str]:
    """Return why a step failed and, if CoinGecko's answer is the cause, what that means."""
    ours = event.step_failure_data.user_failure_data
    verdict = ours.metadata.get("verdict") if ours else None
    fields = {"reason": failure_in([event]).text}
    return fields if verdict is None else {**fields, "verdict": str(verdict.value)}


def _without_empty(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value or name == DAGSTER_META}


def _error(event: dg.DagsterEvent) -> Any:
    """Return what failed; None for a run that failed with a step, whose own line has the error."""
    data = event.event_specific_data
    return None if getattr(data, "first_step_failure_event", None) else getattr(data, "error", None)


def _traceback(event: dg.DagsterEvent, error: Any) -> str | None:
    """Return the traceback of `error` as Dagster shows it; that of a step omits Dagster's own frames."""
    if error is None:
        return None
    return getattr(event.event_specific_data, "error_display_string", None) or str(error.to_string())
