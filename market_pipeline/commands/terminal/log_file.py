"""The file with every line of a command whose terminal shows only what matters: JSON, bounded in size."""

import logging
import os
import sys
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path

_LARGEST_BYTES = 10_000_000
_OLDER_FILES = 4


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
