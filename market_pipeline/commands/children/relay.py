"""What child processes write, passed on line by line as this process writes its own."""

import json
import queue
import re
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import IO, Any

from market_pipeline.core.clock import Clock, utc_now
from market_pipeline.logs import write_line
from market_pipeline.logs.formats import as_time

Fields = dict[str, Any]

# Dagster writes whole seconds; what is read as late as this was held up.
_LATE = timedelta(seconds=2)
_MOST_ROWS = 1_000

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# dagster._utils.log.default_format_string
_DAGSTER = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) - (\S+) - ([A-Z]+) - (.*)")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Stack Trace:|\+ Exception Group Traceback")
_RUN = re.compile(r"\brun ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
# How processes end that were asked to.
_INTERRUPTED = re.compile(r"(\w+\.)*(KeyboardInterrupt|DagsterExecutionInterruptedError)\b")


class Assembler:
    """Makes lines of rows: each has the fields of a log line. `name` is the logger of plain text."""

    def __init__(self, name: str, clock: Clock = utc_now) -> None:
        self._name = name
        self._clock = clock
        self._head: Fields = {}
        self._rows: list[str] = []
        self._has_head = False

    @property
    def waiting(self) -> bool:
        """Whether there are rows to which more may belong."""
        return bool(self._rows)

    def feed(self, row: str) -> Iterator[Fields]:
        """The lines that are complete now that `row` has come."""
        row = _COLOUR.sub("", row.rstrip("\r\n"))
        if own := _own(row):
            if not self._in_traceback:
                yield from self.flush()
            yield own
        elif (head := _DAGSTER.fullmatch(row)) and (told := _time(head[1])):
            yield from self.flush()
            logger, level, message = head.groups()[1:]
            self._begin(logger, level, message, told)
        elif 0 < len(self._rows) < _MOST_ROWS and self._continues(row):
            self._rows.append(row)
        elif row.strip():
            yield from self.flush()
            level = "ERROR" if _TRACEBACK.search(row) else "WARNING" if "Warning:" in row else "INFO"
            self._begin(self._name, level, row)

    def flush(self) -> Iterator[Fields]:
        """What is waiting, as it is."""
        if self._rows:
            head, text = self._head, "\n".join(self._rows).strip("\n")
            self._rows = []
            yield _line(head, text)

    def _begin(self, logger: str, level: str, row: str, told: datetime | None = None) -> None:
        """Begin a line with `row`, written at the second `told` or, which is more exact, just now."""
        now = self._clock()
        at = told if told and abs(now - told) > _LATE else now
        self._head, self._rows = {"timestamp": as_time(at), "level": level, "logger": logger}, [row]
        self._has_head = told is not None

    def _continues(self, row: str) -> bool:
        """Whether `row` belongs to those that are waiting."""
        if _TRACEBACK.search(row):
            return self._head["level"] not in ("DEBUG", "INFO")
        # Dagster's texts have rows of every kind, others only what is indented, and their tracebacks.
        return self._has_head or row[:1] in ("", " ", "\t") or self._in_traceback

    @property
    def _in_traceback(self) -> bool:
        """Whether the rows that are waiting end within a traceback."""
        return (
            any(_TRACEBACK.search(row) for row in self._rows)
            and (self._rows[-1][:1] in ("", " ") or bool(_TRACEBACK.search(self._rows[-1])))
        )


def _time(text: str) -> datetime | None:
    """The aware time that the head of a row tells; None if there is no such time."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None


def _own(row: str) -> Fields | None:
    """The fields of a row that is a line of the package, else None."""
    if not row.startswith('{"timestamp": '):
        return None
    try:
        fields = json.loads(row)
    except (ValueError, RecursionError):
        return None
    return fields if {"level", "logger", "message"} <= fields.keys() else None


def _line(head: Fields, text: str) -> Fields:
    """A text with what is known of it; the rows of a traceback apart from the message."""
    first, _, rest = text.partition("\n")
    if run := _RUN.search(first):
        head = {**head, "trace_id": run[1], "run_id": run[1]}
    if not _TRACEBACK.search(text):
        return {**head, "message": text}
    last = text.rpartition("\n")[2].strip()
    if _INTERRUPTED.match(last) or _INTERRUPTED.match(first):
        return {**head, "level": "INFO", "message": "Interrupted at work."}
    if _TRACEBACK.search(first):
        return {**head, "message": last, "exc_info": text}
    return {**head, "message": first, "exc_info": rest}


# Rows of one text arrive together.
_IDLE_SECONDS = 0.2
_DRAIN_SECONDS = 5.0
_LONGEST_ROW = 1_000_000
_WAITING_ROWS = 1_000


class Relay:
    """Passes on what comes out of `pipe`, in threads of its own, until all who write to it have ended."""

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        self._assembler = Assembler(name)
        # Bounded, so that a terminal that stands still holds the children up instead of filling the memory.
        self._read: queue.Queue[bytes | None] = queue.Queue(_WAITING_ROWS)
        threading.Thread(target=self._fill, args=(pipe,), name=f"{name} output", daemon=True).start()
        self._writer = threading.Thread(target=self._pass_on, name=f"{name} lines", daemon=True)
        self._writer.start()

    def drain(self) -> None:
        """Pass on what is left; call it when the processes have ended. One that lives on is not waited for."""
        self._writer.join(_DRAIN_SECONDS)

    def _fill(self, pipe: IO[bytes]) -> None:
        with pipe:
            while row := pipe.readline(_LONGEST_ROW):
                self._read.put(row)
        self._read.put(None)

    def _pass_on(self) -> None:
        while True:
            try:
                row = self._read.get(timeout=_IDLE_SECONDS if self._assembler.waiting else None)
            except queue.Empty:
                lines = self._assembler.flush()
            else:
                if row is None:
                    break
                lines = self._assembler.feed(row.decode("utf-8", "backslashreplace"))
            for line in lines:
                write_line(line)
        for line in self._assembler.flush():
            write_line(line)
