"""How far a series of runs is: a bar on a terminal, a line for each run elsewhere."""

import logging
import sys
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from market_pipeline.commands.backfill_plan import counted
from market_pipeline.logs import ROOT

_COLUMNS = (
    TextColumn("{task.completed:,.0f} of {task.total:,.0f} partitions"),
    BarColumn(bar_width=30),
    TextColumn("{task.fields[note]}"),
    TimeElapsedColumn(),
)


class RunProgress:
    """Counts partitions, stored rows and sent requests; use it in a `with` block.

    What is logged to standard error inside the block appears above the bar.
    """

    def __init__(self, partitions: int) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(*_COLUMNS, console=self._console, disable=not self._console.is_terminal)
        self._task = self._bar.add_task("", total=partitions, note="")
        self._watcher = _Watcher(self._show)
        self.rows = 0

    @property
    def requests(self) -> int:
        """Requests sent since the block began, retries included."""
        return self._watcher.requests

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        _log_to_stderr()
        logging.getLogger(ROOT).addHandler(self._watcher)
        self._show("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(ROOT).removeHandler(self._watcher)
        self._show("")
        self._bar.stop()
        _log_to_stderr()

    def finished(self, what: str, partitions: int, rows: int) -> None:
        """One run more is done; `what` names it."""
        self.rows += rows
        self._bar.advance(self._task, partitions)
        self._show("")
        if not self._console.is_terminal:
            self._console.print(
                f"{what}: {counted(rows, 'row')}, {counted(self.requests, 'request')} so far", soft_wrap=True
            )

    def _show(self, waiting: str) -> None:
        note = f"{counted(self.rows, 'row')}, {counted(self.requests, 'request')}{waiting}"
        self._bar.update(self._task, note=note, refresh=True)


def _log_to_stderr() -> None:
    """Let logs go to what standard error is now: a bar that is drawn puts a stream of its own there."""
    for handler in logging.getLogger(ROOT).handlers:
        if isinstance(handler, logging.StreamHandler):
            handler.stream = sys.stderr


class _Watcher(logging.Handler):
    """Learns of requests and waits from what the client and the budget log."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show
        self.requests = 0

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "status_code"):
            self.requests += 1
            self._show("")
        elif hasattr(record, "wait_seconds"):
            self._show(f", waiting {record.wait_seconds:.0f} s for the request budget")
