"""Progress of a series of runs: a bar on a terminal, a line for each run elsewhere."""

import logging
from collections.abc import Callable
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from market_pipeline.core.wording import counted
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
        self.requests = 0

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        logging.getLogger(ROOT).addHandler(self._watcher)
        self._show("")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(ROOT).removeHandler(self._watcher)
        self._show("")
        self._bar.stop()

    def finished(self, what: str, partitions: int, rows: int, requests: int) -> None:
        """Count a finished run, which `what` names."""
        self.rows += rows
        self.requests += requests
        self._bar.advance(self._task, partitions)
        self._watcher.requests = 0
        self._show("")
        if not self._console.is_terminal:
            self._console.print(f"{what}: {self} so far", soft_wrap=True)

    def __str__(self) -> str:
        return f"{counted(self.rows, 'row')} with {counted(self.requests, 'request')}"

    def _show(self, now: str) -> None:
        self._bar.update(self._task, note=f"{self}{now}", refresh=True)


class _Watcher(logging.Handler):
    """Follows the current run through what the client and the budget log."""

    def __init__(self, show: Callable[[str], None]) -> None:
        super().__init__(logging.INFO)
        self._show = show
        self.requests = 0

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "status_code"):
            self.requests += 1
            self._show(f", {self.requests} more under way")
        elif hasattr(record, "wait_seconds"):
            self._show(f", waiting {record.wait_seconds:.0f} s for the request budget")
