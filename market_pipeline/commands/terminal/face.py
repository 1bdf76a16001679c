"""How `run`, `demo` and `serve` speak: to a person on a terminal, else as log lines on standard error."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

import requests

from market_pipeline.commands.children.processes import End, Processes
from market_pipeline.commands.terminal.narrator import OUT_OF_MEMORY, Narrator, Said
from market_pipeline.commands.terminal.screen import Screen
from market_pipeline.core.clock import utc_now
from market_pipeline.logs import diverted, get_logger, is_terminal
from market_pipeline.prices.freshness import next_tick
from market_pipeline.settings import Settings

logger = get_logger(__name__)

_ANSWER_SECONDS = 1.0
# Of the file with all log lines.
_LARGEST_BYTES = 10_000_000
_OLDER_FILES = 4
_TITLES = {
    "api": "The API",
    "dagster": "Dagster",
    "dagster-webserver": "Dagster's webserver",
    "dagster-daemon": "Dagster's daemon",
    "watch": "The watcher, which sends alerts,",
    "receiver": "The receiver of alerts",
    "market_pipeline.simulator": "The simulator",
}


@dataclass(frozen=True)
class Banner:
    """What is said when all of `urls` answer."""

    title: str
    rows: Sequence[tuple[str, str]]
    urls: Sequence[str]


class Face:
    """What a command and its children say; `log` is the file with all lines, None if they go to standard error.

    Without a terminal nothing but log lines is written, in the configured format.
    """

    def __init__(self, settings: Settings, log: Path | None, narrator: Narrator) -> None:
        self.log = log
        self._format = settings.log_format
        self._narrator = narrator
        self._file = LogFile(log) if log else None
        self._screen = Screen()
        self._banner: Banner | None = None
        self._after_history: Callable[[], str] | None = None

    def hear(self, line: str) -> None:
        """Keep a log line, and say what it means for a person."""
        if self._file:
            before = self._file.trouble
            self._file.write(line)
            if self._file.trouble and self._file.trouble != before:
                text = f"{self._file.path} cannot be written: {self._file.trouble}. Each line is tried anew."
                self._screen.say(utc_now(), text, "warning", "black on yellow")
        self._say(self._narrator.hear(json.loads(line)))

    def _say(self, all_said: Iterable[Said]) -> None:
        for said in all_said:
            self._screen.say(said.at, said.text, said.label, said.style, said.below)

    def doing(self, what: str) -> None:
        """Say what is under way now, unless the narrator has a run or a wait to show."""
        if self.log:
            self._screen.show(lambda: self._narrator.doing() or what)

    def watch_runs(self) -> None:
        """From now on, say which run is filling history, and what it waits for."""
        if self.log:
            self._screen.show(self._narrator.doing)

    def announce(self, banner: Banner, after_history: Callable[[], str] | None = None) -> None:
        """Say `banner` once its addresses answer; say what `after_history` returns when history was stored."""
        self._banner, self._after_history = banner, after_history

    def poll(self) -> None:
        """Do what is due; called a few times a second while the children work."""
        if not self.log:
            return
        if self._banner and all(_answers(url) for url in self._banner.urls):
            banner, self._banner = self._banner, None
            self._screen.show(str)
            self._screen.rows(banner.title, banner.rows)
            self.watch_runs()
        if self._narrator.history_changed and self._after_history:
            self._narrator.history_changed = False
            if text := self._after_history():
                self._screen.say(utc_now(), text, "history", "magenta")
        if self._banner is None:
            self._screen.refresh()
            self._say(self._narrator.overdue())

    def start(
        self, processes: Processes, command: Sequence[str], environment: Mapping[str, str], folder: Path, name: str
    ) -> "subprocess.Popen[bytes]":
        """Start the child `name`, which writes log lines itself."""
        log_format = "json" if self.log else self._format
        return processes.start(
            command, {**environment, "LOG_FORMAT": log_format}, folder, name, relayed=self.log is not None
        )

    def wait(self, processes: Processes) -> End:
        """Block until one of the children ends by itself, say so, and return how; its name is for a sentence."""
        found = processes.wait_for_any(self.poll)
        end = End(_TITLES.get(found.name, found.name), found.code)
        remedy = "Start the same command again."
        if end.was_killed:
            remedy += f" {OUT_OF_MEMORY}"
        if self.log:
            remedy += f" The last lines are in {self.log}."
        logger.error("%s %s, so everything is stopped.", end.name, end.how, extra={"remedy": remedy})
        return end

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._screen.show(str)
        self._screen.say(utc_now(), "Stopped.")
        if self._file:
            self._file.close()


def speaks_to_a_person(settings: Settings) -> bool:
    """Return whether lines for a person are wanted, and a terminal is there."""
    return settings.log_format == "auto" and is_terminal()


@contextmanager
def face_of(settings: Settings, log: Path, *, requests_too: bool = False) -> Iterator[Face]:
    """Yield what the block speaks through; `log` is the file for all lines if that is a terminal."""

    def run_url(run_id: str) -> str:
        return f"{settings.dagster_ui_url.rstrip('/')}/runs/{run_id}"

    def tick(after: datetime) -> datetime:
        return next_tick(settings.collect_cron, after)

    narrator = Narrator(settings.catalogue.symbols, tick, run_url, requests=requests_too)
    if not speaks_to_a_person(settings):
        yield Face(settings, None, narrator)
        return
    face = Face(settings, log, narrator)
    try:
        with diverted(face.hear):
            yield face
    finally:
        face.close()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=_ANSWER_SECONDS).ok
    except requests.RequestException:
        return False


def common_rows(settings: Settings, home: Path, face: Face) -> list[tuple[str, str]]:
    """Return the rows that every banner ends with."""
    return [
        ("Database", str(settings.database)),
        ("DAGSTER_HOME", str(home)),
        ("Full log", str(face.log)),
        ("Stop", "Ctrl-C"),
    ]


class LogFile(RotatingFileHandler):
    """Appends lines to a file that is renamed to `.1` when it is full; `.4` is the oldest that is kept.

    `trouble` is why the last line could not be written, None if it was.
    """

    def __init__(self, path: Path, largest: int = _LARGEST_BYTES) -> None:
        super().__init__(path, maxBytes=largest, backupCount=_OLDER_FILES, encoding="utf-8", delay=True)
        self.path = path
        self.trouble: str | None = None

    def _open(self) -> TextIOWrapper:
        """Open the file for its owner only."""
        descriptor = os.open(self.baseFilename, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        return os.fdopen(descriptor, "a", encoding=self.encoding)

    def write(self, line: str) -> None:
        """Append a finished line."""
        self.trouble = None
        self.handle(logging.makeLogRecord({"msg": line}))

    def handleError(self, record: logging.LogRecord) -> None:
        """Keep the reason: a full disk must not stop what the lines are about."""
        error = sys.exc_info()[1]
        self.trouble = getattr(error, "strerror", None) or str(error)
        # What is in its buffer would fail every later line; the next one opens the file again.
        self.close()

    def close(self) -> None:
        """Close the file; lines that cannot be written are lost."""
        with suppress(OSError):
            super().close()
