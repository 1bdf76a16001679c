"""Log records as lines: the loggers of the package, and their JSON and console formats.

Secrets are removed twice, by the same redactor: from the records of the package before any handler sees them
(Dagster captures them), and from every finished line (libraries' records, bound fields).
"""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import click
from pythonjsonlogger.core import RESERVED_ATTRS
from pythonjsonlogger.json import JsonFormatter

from market_pipeline.logs.context import current_fields
from market_pipeline.logs.redaction import masker

if TYPE_CHECKING:
    from logging import _SysExcInfoType


ROOT = "market_pipeline"

# Marks a record as the package's own, also where Dagster writes it again under another name.
ORIGIN = "market_pipeline_logger"

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module; pass `__name__`."""
    logger = logging.getLogger(name)
    logger.addFilter(_masking)
    return logger


class _Masking(logging.Filter):
    """Redact message, arguments, extras, exception and stack of each record; drop none."""

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
    """Return the message of `record`; arguments that do not fit must not end the work that is logged."""
    try:
        return record.getMessage()
    except Exception as error:  # a `__str__` may raise anything
        return f"{masker().plain(record.msg)} (its arguments do not fit: {type(error).__name__})"


def traceback_of(error: "_SysExcInfoType") -> str:
    """Return the traceback of `error` as Python prints it."""
    try:
        return "".join(traceback.format_exception(*error)).rstrip("\n")
    except Exception as another:  # an exception's `__str__` may raise anything
        return f"{error[0]} (its traceback cannot be shown: {type(another).__name__})"


_masking = _Masking()


# Attributes that Dagster and uvicorn add to records for their own use.
DAGSTER_META = "dagster_meta"
_NOT_SHOWN = [DAGSTER_META, "dagster_event", "dagster_event_batch_metadata", "color_message", ORIGIN]

_HEAD = ("timestamp", "level", "logger", "message")
_LONG = ("exc_info", "stack_info")
_LEVELS = {"WARNING": ("yellow", "Warning: "), "ERROR": ("red", "Error: "), "CRITICAL": ("red", "Error: ")}
# Line breaks and escape sequences could forge a line on a terminal, bidirectional marks other words; lone
# surrogates cannot be encoded.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class LineFormatter(JsonFormatter):
    """Format a record as one JSON object: time (UTC), level, logger, message, bound fields and extras."""

    def __init__(self) -> None:
        super().__init__("%(message)s", reserved_attrs=[*RESERVED_ATTRS, *_NOT_SHOWN])

    def format(self, record: logging.LogRecord) -> str:
        """Format `record`, even if its arguments do not fit its message."""
        shown = logging.makeLogRecord(vars(record))
        if not hasattr(record, ORIGIN):
            shown.msg, shown.args = message_of(record), ()
        if record.exc_info and not record.exc_text:
            shown.exc_text = traceback_of(record.exc_info)
        shown.exc_info = None
        return super().format(shown)

    def add_fields(
        self, log_data: dict[str, Any], record: logging.LogRecord, message_dict: dict[str, Any]
    ) -> None:
        """Add the fields of `record` to `log_data`."""
        message, run = record.message, {}
        if meta := record.__dict__.get(DAGSTER_META):
            # Dagster has rewritten the message of a captured record. Its run id also holds in threads without
            # context and within a command that has a trace id of its own.
            message = meta["orig_message"]
            run = {"trace_id": meta["run_id"], "run_id": meta["run_id"]} if meta["run_id"] else {}
        head = dict(zip(_HEAD, (_time(record), record.levelname, record.name, message), strict=True))
        log_data.update(head)
        log_data.update({**current_fields(), **run})
        super().add_fields(log_data, record, message_dict)
        log_data.update(head)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return `log_data` as a JSON line without secrets."""
        return as_json(log_data)


class ConsoleFormatter(LineFormatter):
    """Format a record for a terminal: `time level logger message key=value ...`, then its traceback."""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return `log_data` as console text without secrets."""
        return as_text(log_data)


class TerminalFormatter(LineFormatter):
    """Format a record for the person at a terminal who gave the command: what happened, and nothing else."""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """Return `log_data` as a sentence without secrets."""
        return as_sentence(log_data)


FORMATTERS = {"json": LineFormatter, "console": ConsoleFormatter, "terminal": TerminalFormatter}


def as_json(fields: Mapping[str, Any]) -> str:
    """Return the fields as a JSON object without secrets."""
    try:
        # Fast path: nearly every line is plain JSON in which no secret can be.
        line = json.dumps(fields, allow_nan=False)
        return json.dumps(_plain(fields)) if masker().may_be_in(line) else line
    except Exception:  # not plain JSON, or an object whose own code fails
        return json.dumps(_plain(fields))


def as_text(fields: Mapping[str, Any]) -> str:
    """Return the fields as console text without secrets."""
    fields = _plain(fields)
    time, level, logger, message = (str(fields.get(name, "")) for name in _HEAD)
    others = (
        f"{one_line(str(name))}={_value(value)}"
        for name, value in fields.items()
        if name not in _HEAD and name not in _LONG and not (name == "run_id" and value == fields.get("trace_id"))
    )
    line = " ".join([time, f"{level:<7}", one_line(logger), one_line(message), *others])
    below = (row for name in _LONG for row in str(fields.get(name) or "").splitlines())
    return "\n".join([line, *(f"    {one_line(row)}".rstrip() for row in below)])


def as_sentence(fields: Mapping[str, Any]) -> str:
    """Return the message, with its level from WARNING on; what failed stands before the traceback."""
    fields = _plain(fields)
    level, message, trace = (str(fields.get(name) or "") for name in ("level", "message", "exc_info"))
    rows = trace.splitlines()
    if rows:
        message = f"{message}: {rows[-1].strip()}"
    colour, label = _LEVELS.get(level, (None, ""))
    line = click.style(f"{label}{one_line(message)}", fg=colour) if colour else one_line(message)
    return "\n".join([line, *(click.style(f"    {one_line(row)}", dim=True) for row in rows)])


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return `fields` as plain JSON without secrets; the fields of every line keep their names."""
    hide = masker()
    return {
        name if name in _HEAD else hide.text(str(name)): value if name in _HEAD[:3] else hide.named(name, value)
        for name, value in fields.items()
    }


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if text == "" or re.search(r'[\s"=]', text) else one_line(text)


def one_line(text: str) -> str:
    """Return `text` with its control characters escaped."""
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _time(record: logging.LogRecord) -> str:
    return as_time(datetime.fromtimestamp(record.created, timezone.utc))


def as_time(moment: datetime) -> str:
    """Format an aware time as in log lines: UTC, milliseconds, Z."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
