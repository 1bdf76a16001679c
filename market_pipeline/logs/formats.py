"""How a line looks: JSON for programs, text for a terminal, both with the same fields."""

import json
import logging
import re
import traceback
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

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


# What Dagster and uvicorn hang on records for themselves.
DAGSTER_META = "dagster_meta"
_NOT_SHOWN = [DAGSTER_META, "dagster_event", "dagster_event_batch_metadata", "color_message", ORIGIN]

_HEAD = ("timestamp", "level", "logger", "message")
_LONG = ("exc_info", "stack_info")
# A line break or an escape sequence in a message could pass for a line of its own on a terminal, what
# turns the direction of writing around for other words; and half a character cannot be written at all.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


class LineFormatter(JsonFormatter):
    """A log record as one JSON object: time (UTC), level, logger, message, what is bound, and extras."""

    def __init__(self) -> None:
        super().__init__("%(message)s", reserved_attrs=[*RESERVED_ATTRS, *_NOT_SHOWN])

    def format(self, record: logging.LogRecord) -> str:
        """`record` as a line, also if its arguments do not fit its message."""
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
        """Put the fields of `record` into `log_data`."""
        message, run = record.message, {}
        if meta := record.__dict__.get(DAGSTER_META):
            # Dagster has turned the message of a captured record into one of its own. It knows the run also
            # in threads that know nothing of it, and within a command that has an id of its own.
            message = meta["orig_message"]
            run = {"trace_id": meta["run_id"], "run_id": meta["run_id"]} if meta["run_id"] else {}
        head = dict(zip(_HEAD, (_time(record), record.levelname, record.name, message), strict=True))
        log_data.update(head)
        log_data.update({**current_fields(), **run})
        super().add_fields(log_data, record, message_dict)
        log_data.update(head)

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """`log_data` as it is written, without secrets."""
        return as_json(log_data)


class ConsoleFormatter(LineFormatter):
    """A log record as a line for people: `time level logger message key=value ...`, then its traceback."""

    def jsonify_log_record(self, log_data: dict[str, Any]) -> str:
        """`log_data` as it is written, without secrets."""
        return as_text(log_data)


FORMATTERS = {"json": LineFormatter, "console": ConsoleFormatter}


def as_json(fields: Mapping[str, Any]) -> str:
    """The line as a JSON object, without secrets."""
    try:
        # Nearly every line is plain and beyond suspicion, and looking at it whole is quick.
        line = json.dumps(fields, allow_nan=False)
        return json.dumps(_plain(fields)) if masker().may_be_in(line) else line
    except Exception:  # not plain, or of a kind whose own code fails
        return json.dumps(_plain(fields))


def as_text(fields: Mapping[str, Any]) -> str:
    """The line for a terminal, without secrets."""
    fields = _plain(fields)
    time, level, logger, message = (str(fields.get(name, "")) for name in _HEAD)
    others = (
        f"{_one_line(str(name))}={_value(value)}"
        for name, value in fields.items()
        # In a run both are the same.
        if name not in _HEAD and name not in _LONG and not (name == "run_id" and value == fields.get("trace_id"))
    )
    line = " ".join([time, f"{level:<7}", _one_line(logger), _one_line(message), *others])
    below = (row for name in _LONG for row in str(fields.get(name) or "").splitlines())
    return "\n".join([line, *(f"    {_one_line(row)}".rstrip() for row in below)])


def _plain(fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields` as JSON can hold them, without secrets; what every line has keeps its name whatever they are."""
    hide = masker()
    return {
        name if name in _HEAD else hide.text(str(name)): value if name in _HEAD[:3] else hide.named(name, value)
        for name, value in fields.items()
    }


def _value(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return json.dumps(text) if text == "" or re.search(r'[\s"=]', text) else _one_line(text)


def _one_line(text: str) -> str:
    return _CONTROL.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def _time(record: logging.LogRecord) -> str:
    return as_time(datetime.fromtimestamp(record.created, timezone.utc))


def as_time(moment: datetime) -> str:
    """An aware time as lines have it: UTC, milliseconds, Z."""
    return moment.astimezone(timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
