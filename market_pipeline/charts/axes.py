"""What lies behind all panels: the time grid, the shades of market events and their names; and the price axis."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timezone
from typing import TYPE_CHECKING

from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.charts.canvas import Box, Canvas
from market_pipeline.charts.marks import SEVERITIES, EventShade
from market_pipeline.charts.track import Span

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_pipeline.charts.theme import Theme

# All lengths are in pixels.
NAME_HEIGHT = 20
_ROWS = 2
_LETTERS = 13
_NARROWEST = 7
_GAP = 8


def draw_backdrop(canvas: Canvas, box: Box, events: Sequence[EventShade], span: Span) -> Axes:
    """Draw time grid and market events over the whole of `box`, times below it.

    The upper `names_height` pixels of `box` must be free for the names of the events.
    """
    axes = canvas.axes(box)
    axes.set_zorder(-1)
    axes.set_xlim(*span)
    axes.set_ylim(0, box.height)
    axes.set_yticks([])
    style_time_axis(axes)
    top = box.height - names_height(events, box.width, span)
    axes.vlines(axes.get_xticks(), 0, top, color=canvas.theme.grid, linewidth=0.8, zorder=0.5)
    for shade in shades_of(events, box.width, span):
        axes.axvspan(*shade, color=canvas.theme.event, linewidth=0, zorder=0)
    for event, (row, left) in named_events(events, box.width, span):
        canvas.text(
            box.left + left,
            box.top + 4 + row * NAME_HEIGHT,
            event.name,
            _LETTERS,
            color=canvas.theme.event_ink,
            fontweight="bold" if _is_critical(event) else "normal",
        )
    return axes


def style_time_axis(axes: Axes) -> None:
    """Name at most about nine round UTC times, midnight by its date."""
    from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

    locator = AutoDateLocator(tz=timezone.utc, minticks=3, maxticks=9)  # type: ignore[no-untyped-call]  # Matplotlib's dates are not typed
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(  # type: ignore[no-untyped-call]  # Matplotlib's dates are not typed
        locator,
        tz=timezone.utc,
        formats=["%Y", "%b %Y", "%-d %b", "%H:%M", "%H:%M", "%H:%M:%S"],
        zero_formats=["%Y", "%b %Y", "%-d %b", "%-d %b", "%H:%M", "%H:%M:%S"],
        show_offset=False,
    )
    axes.xaxis.set_major_formatter(formatter)
    axes.tick_params(axis="x", labelbottom=True, pad=6)


def style_price_axis(axes: Axes, theme: Theme, most: int) -> None:
    """Name round prices, at most about `most`, on the right, with faint lines across."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    ticks = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    shown = [float(tick) for tick in ticks if low <= tick <= high]
    axes.yaxis.tick_right()
    axes.set_yticks(shown, price_names(shown))
    axes.grid(axis="y", color=theme.grid, linewidth=0.8, zorder=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelright=True, labelleft=False)


def price_names(prices: Sequence[float]) -> list[str]:
    """Write all prices of an axis with the decimals that the longest needs: 2.50 below 2.55."""
    names = [f"{price:.10g}" for price in prices]
    if any("e" in name for name in names):
        return names
    decimals = max((len(name.partition(".")[2]) for name in names), default=0)
    return [f"{price:,.{decimals}f}" for price in prices]


def shades_of(events: Sequence[EventShade], width: float, span: Span) -> list[Span]:
    """Return from when to when each event is shaded (days since 1970) in a picture of `span` this wide."""
    scale = (span[1] - span[0]) / width
    edges = [_edges(event, width, span) for event in events]
    return [(span[0] + left * scale, span[0] + right * scale) for left, right in edges]


def _edges(event: EventShade, width: float, span: Span) -> Span:
    """Return where the shade begins and ends, pixels from the left, wide enough to be seen."""
    scale = width / (span[1] - span[0])
    left, right = (event.first - span[0]) * scale, (event.last - span[0]) * scale
    spare = max(_NARROWEST - (right - left), 0) / 2
    return max(left - spare, 0), min(right + spare, width)


def names_height(events: Sequence[EventShade], width: float, span: Span) -> int:
    """Return how many pixels above the panels the names of the events take."""
    rows = [row for _, (row, _) in named_events(events, width, span)]
    return NAME_HEIGHT * (max(rows) + 1) if rows else 0


def named_events(events: Sequence[EventShade], width: float, span: Span) -> list[tuple[EventShade, tuple[int, float]]]:
    """Return which events are named, in which of the two rows, and how many pixels from the left.

    A name that would touch others in both rows is left out; the most severe come first.
    """
    taken: list[tuple[int, float, float]] = []
    named = []
    for event in sorted(events, key=lambda event: -SEVERITIES.index(event.severity)):
        length = len(event.name) * _LETTERS * (0.61 if _is_critical(event) else 0.53)
        left = max(min(_edges(event, width, span)[0], width - length), 0)
        for row in range(_ROWS):
            others = [(begin, end) for other, begin, end in taken if other == row]
            if all(left > end + _GAP or left + length < begin - _GAP for begin, end in others):
                taken.append((row, left, left + length))
                named.append((event, (row, left)))
                break
    return named


def _is_critical(event: EventShade) -> bool:
    return event.severity == Severity.CRITICAL.value
