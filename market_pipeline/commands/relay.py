"""What child processes write, passed on line by line as this process writes its own."""

import queue
import threading
from typing import IO

from market_pipeline.commands.relayed_lines import Assembler
from market_pipeline.logs import write_line

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
