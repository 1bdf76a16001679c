"""Passes a child's output on as log lines of this process, while the child lives and to its last row."""

import queue
import threading
from typing import IO

from market_pipeline.commands.children.lines import Assembler
from market_pipeline.logs import write_line

# Rows of one message arrive together.
_IDLE_SECONDS = 0.2
_DRAIN_SECONDS = 5.0
_LONGEST_ROW = 1_000_000
# Back-pressure: a blocked standard error stops the children instead of filling the memory.
_MOST_ROWS = 1_000


class Relay:
    """Relays what comes out of `pipe`, in threads, until all processes that write to it have ended."""

    def __init__(self, pipe: IO[bytes], name: str) -> None:
        self._assembler = Assembler(name)
        self._rows: queue.Queue[bytes | None] = queue.Queue(_MOST_ROWS)
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
                write_line(line)
