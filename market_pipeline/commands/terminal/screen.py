"""The terminal: lines that stay, and below them one that says what is under way."""

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Console, ConsoleOptions, RenderResult
from rich.live import Live
from rich.padding import Padding
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from market_pipeline.logs import one_line

_REFRESHES = 4.0
_INDENT = " " * len("14:05  ")


class Screen:
    """Writes to standard error. Lines come from any thread, the last line is the main thread's."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True, highlight=False)
        self._doing: Callable[[], str] = str
        self._spinner = Spinner("dots", style="dim")
        self._live: Live | None = None

    def say(self, at: datetime, text: str, label: str = "", style: str = "", below: Sequence[str] = ()) -> None:
        """Write a line: its time (UTC), a label, a text; then the lines `below` it.

        Texts may come from elsewhere; rich passes escape sequences on to the terminal, so they are escaped here.
        """
        grid = Table.grid(padding=(0, 2, 0, 0))
        grid.add_column(no_wrap=True, style="dim")
        grid.add_column(overflow="fold")
        body = Text()
        if label:
            body.append(one_line(label.upper()), style=style).append("  ")
        body.append(one_line(text), style="dim" if style == "dim" else "")
        grid.add_row(f"{at:%H:%M}", body)
        self.console.print(grid)
        for line in map(one_line, below):
            if line.startswith("http"):
                # Not folded: the terminal recognises an address that it wraps itself.
                self.console.print(Text(f"{_INDENT}{line}", style="dim"), soft_wrap=True)
            else:
                self.console.print(Padding(Text(line, style="dim"), (0, 0, 0, len(_INDENT))))

    def rows(self, title: str, rows: Sequence[tuple[str, str]]) -> None:
        """Write a title and below it pairs of a name and a value."""
        width = max(len(name) for name, _ in rows)
        lines = [Text(), Text(title, style="bold green")]
        for name, value in rows:
            style = "bold underline" if value.startswith("http") else ""
            lines.append(Text.assemble((f"  {name:<{width}}  ", "dim"), (value, style)))
        # Not folded: the terminal recognises a path or address that it wraps itself.
        self.console.print(*lines, Text(), sep="\n", soft_wrap=True)

    def show(self, doing: Callable[[], str]) -> None:
        """Show what `doing` returns below the lines, as long as that is not empty."""
        self._doing = doing
        self.refresh()

    def refresh(self) -> None:
        """Begin or end the last line."""
        wanted = bool(self._doing()) and self.console.is_terminal and not self.console.is_dumb_terminal
        if wanted and self._live is None:
            self._live = Live(self, console=self.console, refresh_per_second=_REFRESHES, transient=True)
            self._live.start()
        elif not wanted:
            self.close()

    def close(self) -> None:
        """Remove the last line."""
        live, self._live = self._live, None
        if live is not None:
            live.stop()

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        line = Table.grid(padding=(0, 1, 0, 0))
        line.add_row(self._spinner, Text(one_line(self._doing()), style="dim", no_wrap=True, overflow="ellipsis"))
        yield line
