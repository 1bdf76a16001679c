"""Passes a child's output on as our log lines: those of this package unchanged, Dagster's parsed, tracebacks whole."""

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

# The fields of a log line.
Fields = dict[str, Any]

# Dagster writes whole seconds, so the time of arrival is more exact, unless the row was delayed by more than this.
_LATE = timedelta(seconds=2)
# Rows of one message arrive together.
_IDLE_SECONDS = 0.2
_DRAIN_SECONDS = 5.0
_LONGEST_ROW = 1_000_000
# Of one message; and of all that wait to be written: a blocked standard error stops the children instead of filling
# the memory.
_MOST_ROWS = 1_000
_MOST_WAITING = 1_000

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
# dagster._utils.log.default_format_string
_DAGSTER = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}) - (\S+) - ([A-Z]+) - (.*)")
_TRACEBACK = re.compile(r"Traceback \(most recent call last\)|Stack Trace:|\+ Exception Group Traceback")
_RUN = re.compile(r"\brun ([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\b")
# The last row of a process that was interrupted on purpose.
_INTERRUPTED = re.compile(r"(\w+\.)*(KeyboardInterrupt|DagsterExecutionInterruptedError)\b")
# What dagster._cli.dev raises when the webserver or the daemon has ended: it ends, too, with exit code 0.
_LOST = re.compile(r"(dagster-\w+) process shut down unexpectedly with return code (-?\d+)")
# The scheduler's warning after a pause of the daemon. It is no problem: a run brings everything up to date.
_MISSED_TICKS = re.compile(r"(\w+) has no partition set, so not trying to catch up")


class Assembler:
    """Assembles log lines from rows. `name` is the logger of plain text."""

    def __init__(self, name: str, clock: Clock = utc_now) -> None:
        self._name = name
        self._clock = clock
        self._head: Fields = {}
        self._rows: list[str] = []
        self._is_dagsters = False

    @property
    def waiting(self) -> bool:
        """Whether a line has begun to which more rows may belong."""
        return bool(self._rows)

    def feed(self, row: str) -> Iterator[Fields]:
        """Yield the lines that `row` completes."""
        row = _COLOUR.sub("", row.rstrip("\r\n"))
        if own := _own_line(row):
            if not self._in_traceback:
                yield from self.flush()
            yield own
        elif (head := _DAGSTER.fullmatch(row)) and (written_at := _time(head[1])):
            yield from self.flush()
            logger, level, message = head.groups()[1:]
            self._begin(logger, level, message, written_at)
        elif 0 < len(self._rows) < _MOST_ROWS and self._continues(row):
            self._rows.append(row)
        elif row.strip():
            yield from self.flush()
            level = "ERROR" if _TRACEBACK.search(row) else "WARNING" if "Warning:" in row else "INFO"
            self._begin(self._name, level, row)

    def flush(self) -> Iterator[Fields]:
        """Yield the line that has begun, as it is."""
        if self._rows:
            head, text = self._head, "\n".join(self._rows).strip("\n")
            self._rows = []
            yield _line(head, text)

    def _begin(self, logger: str, level: str, row: str, written_at: datetime | None = None) -> None:
        now = self._clock()
        at = written_at if written_at and abs(now - written_at) > _LATE else now
        self._head, self._rows = {"timestamp": as_time(at), "level": level, "logger": logger}, [row]
        self._is_dagsters = written_at is not None

    def _continues(self, row: str) -> bool:
        if _TRACEBACK.search(row):
            return self._head["level"] not in ("DEBUG", "INFO")
        # Dagster's messages have rows of every kind; of other text only indented rows and tracebacks belong together.
        return self._is_dagsters or row[:1] in ("", " ", "\t") or self._in_traceback

    @property
    def _in_traceback(self) -> bool:
        """Whether the rows so far end within a traceback."""
        begins = [bool(_TRACEBACK.search(row)) for row in self._rows]
        return any(begins) and (begins[-1] or self._rows[-1][:1] in ("", " "))


def _time(text: str) -> datetime | None:
    """Parse the time at the head of Dagster's rows; None if there is no such time."""
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M:%S %z")
    except ValueError:
        return None


def _own_line(row: str) -> Fields | None:
    """Parse a row that is a log line of this package, else None."""
    if not row.startswith('{"timestamp": '):
        return None
    try:
        fields = json.loads(row)
    except (ValueError, RecursionError):
        return None
    return fields if {"level", "logger", "message"} <= fields.keys() else None


def _line(head: Fields, text: str) -> Fields:
    """Complete `head` with the message, the run it names, and the traceback apart from the message."""
    first, _, rest = text.partition("\n")
    if run := _RUN.search(first):
        head = {**head, "trace_id": run[1], "run_id": run[1]}
    if missed := _MISSED_TICKS.fullmatch(text):
        return {**head, "level": "INFO", "message": f"{missed[1]} missed ticks; one run makes up for them."}
    if not _TRACEBACK.search(text):
        return {**head, "message": text}
    # Below the error, Dagster writes the stack of the process that it came from.
    ends = [row for row in text.splitlines() if row[:1] not in ("", " ") and not _TRACEBACK.search(row)]
    last = ends[-1].strip() if ends else text.rpartition("\n")[2].strip()
    if _INTERRUPTED.match(last) or _INTERRUPTED.match(first):
        return {**head, "level": "INFO", "message": "Interrupted."}
    if _TRACEBACK.search(first):
        return {**head, "message": last, "exc_info": text}
    return {**head, "message": first, "exc_info": rest}


class Relay:
    """Relays what comes out of `pipe`, in threads, until all processes that write to it have ended.

    `lost` is the process of Dagster, and its code, whose end is reported there as the reason to end.
    """

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        self.lost: tuple[str, int] | None = None
        self._assembler = Assembler(name)
        self._rows: queue.Queue[bytes | None] = queue.Queue(_MOST_WAITING)
        threading.Thread(target=self._read, args=(pipe,), name=f"{name} output", daemon=True).start()
        self._writer = threading.Thread(target=self._write, name=f"{name} lines", daemon=True)
        self._writer.start()

    def drain(self, seconds: float = _DRAIN_SECONDS) -> None:
        """Relay what is left once the processes have ended; a process that lives on is not waited for."""
        self._writer.join(seconds)

    def _read(self, pipe: IO[bytes]) -> None:
        with pipe:
            while row := pipe.readline(_LONGEST_ROW):
                self._rows.put(row)
        self._rows.put(None)

    def _write(self) -> None:
        row: bytes | None = b""
        while row is not None:
            try:
                row = self._rows.get(timeout=_IDLE_SECONDS if self._assembler.waiting else None)
            except queue.Empty:
                lines = self._assembler.flush()
            else:
                lines = self._assembler.flush() if row is None else self._assembler.feed(
                    row.decode("utf-8", "backslashreplace")
                )
            for line in lines:
                if lost := _LOST.search(str(line.get("exc_info", ""))):
                    self.lost = lost[1], int(lost[2])
                write_line(line)
