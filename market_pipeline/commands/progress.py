"""Progress of a series of runs, or of an export: a bar on a terminal, lines elsewhere."""

import logging
import time
from collections.abc import Iterator, Mapping
from datetime import datetime
from types import TracebackType

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from market_pipeline.core.wording import counted
from market_pipeline.logs import ROOT


class RunProgress:
    """Counts partitions, stored rows and sent requests; use it in a `with` block.

    What is logged to standard error inside the block appears above the bar.
    """

    def __init__(self, partitions: int) -> None:
        self.rows = 0
        self.requests = 0
        self._console = Console(stderr=True)
        self._watcher = _Watcher()
        self._bar = _Bar(self._watcher, self._console)
        self._task = self._bar.add_task("", total=partitions, note=str(self))

    def __enter__(self) -> "RunProgress":
        self._bar.start()
        logging.getLogger(ROOT).addHandler(self._watcher)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        logging.getLogger(ROOT).removeHandler(self._watcher)
        self._watcher.end()
        self._bar.stop()

    def begins(self, what: str, partitions: int, requests: int) -> None:
        """Say that the run which `what` names is prepared; with each of its `requests` the bar moves on."""
        self._watcher.begin(what, partitions, requests)

    def finished(self, what: str, partitions: int, rows: int, requests: int) -> None:
        """Count a finished run, which `what` names."""
        self.rows += rows
        self.requests += requests
        self._bar.update(self._task, note=str(self))
        self._watcher.end(partitions)
        if not self._console.is_terminal:
            self._console.print(f"{what}: {self} so far", soft_wrap=True)

    def redraw(self) -> None:
        """Draw the bar now, as is done several times a second."""
        self._bar.refresh()

    def __str__(self) -> str:
        return f"{counted(self.rows, 'row')} with {counted(self.requests, 'request')}"


class _Bar(Progress):
    """The bar, and below it what is under way; drawn several times a second, so it counts seconds down."""

    def __init__(self, watcher: "_Watcher", console: Console) -> None:
        self._watcher = watcher
        super().__init__(
            TextColumn("{task.completed:,.0f} of {task.total:,.0f} partitions"),
            BarColumn(bar_width=24),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            console=console, disable=not console.is_terminal,
        )

    def get_renderables(self) -> Iterator[RenderableType]:
        """Yield the bar and the line below it."""
        for task in self.tasks:
            task.completed = self._watcher.completed
        yield from super().get_renderables()
        if now := str(self._watcher):
            yield Text(now, style="dim")


class _Watcher(logging.Handler):
    """Follows the current run through what the client and the budget log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._ended = 0
        self._due = 0.0
        self.begin("", 0, 0)

    def begin(self, what: str, partitions: int, requests: int) -> None:
        """Follow the run that `what` names."""
        self._what, self._partitions, self._expected = what, partitions, requests
        self._requests, self._why = 0, ""

    def end(self, partitions: int = 0) -> None:
        """Follow nothing: the run of so many partitions has ended."""
        self._ended += partitions
        self.begin("", 0, 0)

    @property
    def completed(self) -> float:
        """The partitions of runs that have ended, and a share of the current run: storing counts as one request."""
        return self._ended + self._partitions * min(self._requests, self._expected) / (self._expected + 1)

    def emit(self, record: logging.LogRecord) -> None:
        if hasattr(record, "status_code"):
            self._requests, self._why = self._requests + 1, ""
        elif hasattr(record, "wait_seconds"):
            self._due, self._why = time.monotonic() + record.wait_seconds, str(getattr(record, "wait_for", ""))

    def __str__(self) -> str:
        left = self._due - time.monotonic()
        if self._why and left > 0.5:
            return f"{self._why}: next request in {left:.0f} s"
        if not self._what:
            return ""
        if not self._requests:
            return f"preparing the run of {self._what}"
        now = "storing and scoring" if self._requests >= self._expected else "requesting"
        return f"{now}: {self._requests} of {counted(self._expected, 'request')}"


class ExportProgress:
    """Shows on a terminal how far an export has come in time.

    `spans` are the begin and the end of each symbol, `table` what is exported first. Use it in a `with` block.
    """

    def __init__(self, spans: Mapping[str, tuple[datetime, datetime]], table: str) -> None:
        self._console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=30), TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}"), TimeElapsedColumn(),
            console=self._console, disable=not self._console.is_terminal,
        )
        self._spans = spans
        total = sum(((end - begin).total_seconds() for begin, end in spans.values()), 0.0)
        self._task = self._bar.add_task(table, total=total, note="")
        self._table = table
        self._rows: dict[str, int] = {}

    def __enter__(self) -> "ExportProgress":
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def __call__(self, table: str, symbol: str, rows: int, until: datetime) -> None:
        """Count `rows` of `symbol`, written up to the time `until`."""
        if table != self._table:
            return
        self._rows[symbol] = self._rows.get(symbol, 0) + rows
        done = [self._spans[one] for one in list(self._rows)[:-1]]
        begin, end = self._spans[symbol]
        seconds = sum(((end - begin).total_seconds() for begin, end in done), (min(until, end) - begin).total_seconds())
        note = f"{symbol}, {counted(sum(self._rows.values()), 'row')}"
        self._bar.update(self._task, completed=seconds, note=note)
