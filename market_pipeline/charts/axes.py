"""What lies behind all panels: the time grid, the shades of market events and their names."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import numpy as np

from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.charts.canvas import Box, Canvas
from market_pipeline.charts.marks import SEVERITIES, EventShade
from market_pipeline.core.clock import EPOCH

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from market_pipeline.charts.theme import Theme


_MINUTES = (1, 5, 10, 15, 30, 60, 120, 180, 360, 720)
_DAYS = (1, 2, 4, 7, 14, 30, 60, 90, 180, 365)
_STEPS = tuple(minutes / 60 for minutes in _MINUTES) + tuple(24.0 * days for days in _DAYS)
_MOST_TICKS = 9
_LONG = 24.0 * 300


def ticks(first: float, last: float) -> tuple[list[float], list[str]]:
    """Positions and names of at most about nine ticks between two times in hours since 1970, UTC."""
    step = next((step for step in _STEPS if (last - first) / step <= _MOST_TICKS), _STEPS[-1])
    places = np.arange(np.ceil(first / step), np.floor(last / step) + 1) * step
    return places.tolist(), [_name(place, last - first) for place in places]


def _name(hours: float, span: float) -> str:
    moment = EPOCH + timedelta(hours=hours)
    if (moment.hour, moment.minute) != (0, 0):
        return f"{moment:%H:%M}"
    return f"{moment:%Y-%m-%d}" if span > _LONG else f"{moment.day} {moment:%b}"


# All lengths are in pixels.
NAME_HEIGHT = 20
_ROWS = 2
_LETTERS = 13
_NARROWEST = 7
_GAP = 8


def draw_backdrop(canvas: Canvas, box: Box, events: Sequence[EventShade], span: tuple[float, float]) -> Axes:
    """Time grid and market events over the whole of `box`, times named below it.

    The upper `names_height` pixels of `box` must be free for the names of the events.
    """
    axes = canvas.axes(box)
    axes.set_zorder(-1)
    axes.set_xlim(*span)
    axes.set_ylim(0, box.height)
    axes.set_yticks([])
    axes.set_xticks(*ticks(*span))
    axes.tick_params(axis="x", labelbottom=True, pad=6)
    top = box.height - names_height(events, box.width, span)
    axes.vlines(axes.get_xticks(), 0, top, color=canvas.theme.grid, linewidth=0.8, zorder=0.5)
    for shade in shades_of(events, box.width, span):
        axes.axvspan(*shade, color=canvas.theme.event, linewidth=0, zorder=0)
    _draw_names(canvas, box, events, span)
    return axes


def shades_of(
    events: Sequence[EventShade], width: float, span: tuple[float, float]
) -> list[tuple[float, float]]:
    """From when to when each event is shaded, in hours since 1970, in a picture of `span` so wide."""
    scale = (span[1] - span[0]) / width
    edges = [_edges(event, width, span) for event in events]
    return [(span[0] + left * scale, span[0] + right * scale) for left, right in edges]


def _edges(event: EventShade, width: float, span: tuple[float, float]) -> tuple[float, float]:
    """Where the shade begins and ends, pixels from the left: never too narrow to be seen."""
    scale = width / (span[1] - span[0])
    left, right = (event.first - span[0]) * scale, (event.last - span[0]) * scale
    spare = max(_NARROWEST - (right - left), 0) / 2
    return max(left - spare, 0), min(right + spare, width)


def _draw_names(canvas: Canvas, box: Box, events: Sequence[EventShade], span: tuple[float, float]) -> None:
    """The name of each event above its shade, once."""
    for event, (row, left) in named_events(events, box.width, span):
        canvas.text(
            box.left + left, box.top + 4 + row * NAME_HEIGHT, event.name, _LETTERS,
            color=canvas.theme.event_ink, fontweight="bold" if _is_critical(event) else "normal",
        )  # fmt: skip


def names_height(events: Sequence[EventShade], width: float, span: tuple[float, float]) -> int:
    """How many pixels above the panels the names of the events take."""
    rows = [row for _, (row, _) in named_events(events, width, span)]
    return NAME_HEIGHT * (max(rows) + 1) if rows else 0


def named_events(
    events: Sequence[EventShade], width: float, span: tuple[float, float]
) -> list[tuple[EventShade, tuple[int, float]]]:
    """Which events are named, in which of the two rows, and how many pixels from the left.

    Where a name would meet another in both rows, it is left out; the most severe come first.
    """
    taken: list[tuple[int, float, float]] = []
    named = []
    for event in sorted(events, key=lambda event: -SEVERITIES.index(event.severity)):
        long = len(event.name) * _LETTERS * (0.61 if _is_critical(event) else 0.53)
        left = max(min(_edges(event, width, span)[0], width - long), 0)
        for row in range(_ROWS):
            others = [(begin, end) for other, begin, end in taken if other == row]
            if all(left > end + _GAP or left + long < begin - _GAP for begin, end in others):
                taken.append((row, left, left + long))
                named.append((event, (row, left)))
                break
    return named


def _is_critical(event: EventShade) -> bool:
    return event.severity == Severity.CRITICAL.value


def style_price_axis(axes: Axes, theme: Theme, most: int) -> None:
    """Round prices, at most about `most`, named on the right, with faint lines across."""
    from matplotlib.ticker import MaxNLocator

    low, high = axes.get_ylim()
    places = MaxNLocator(nbins=most, steps=[1, 2, 2.5, 5, 10]).tick_values(low, high)
    shown = [float(place) for place in places if low <= place <= high]
    axes.yaxis.tick_right()
    axes.set_yticks(shown, tick_names(shown))
    axes.grid(axis="y", color=theme.grid, linewidth=0.8, zorder=0.5)
    axes.set_axisbelow(True)
    axes.tick_params(axis="y", length=0, labelright=True, labelleft=False)


def tick_names(values: Sequence[float]) -> list[str]:
    """Numbers of the price axis, all with the decimals that tell neighbours apart."""
    texts = [f"{value:.6g}" for value in values]
    if 1e6 <= max(values, default=0.0) < 1e9:
        texts = [f"{value:.0f}" for value in values]
    if any("e" in text for text in texts):
        return texts
    decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
    return [f"{value:,.{decimals}f}" for value in values]
