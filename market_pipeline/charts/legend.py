"""The legend above the panels: only of what the picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.charts.canvas import Canvas, points
from market_pipeline.charts.marks import (
    KINDS,
    SEVERITIES,
    EventShade,
    dot_looks,
    mark_looks,
    marks_and_dots,
    severity_looks,
)
from market_pipeline.charts.track import Track
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from market_pipeline.charts.theme import Theme

MARGIN = 14
LEGEND_LINE = 30


def draw_legend(
    canvas: Canvas, top: float, tracks: Sequence[Track], rows: Columns, events: Sequence[EventShade]
) -> None:
    """Explain areas at the right with the upper edge at `top`, and marks below at the left.

    `rows` are the flagged rows of the symbols drawn.
    """
    _draw(canvas, _areas(tracks, events, canvas.theme), canvas.width - MARGIN, top, "upper right")
    _draw(canvas, _marks(rows, canvas.theme), MARGIN, top + LEGEND_LINE, "upper left")


def has_marks(rows: Columns) -> bool:
    """Return whether the legend has the line of marks."""
    return bool((rows["kind"] != Kind.MARKET_MOVE.value).any())


def _draw(
    canvas: Canvas,
    entries: Sequence[tuple[Artist, str]],
    left: float,
    top: float,
    corner: Literal["upper left", "upper right"],
) -> None:
    if not entries:
        return
    # More in a line would not fit.
    crowded = len(entries) > 8
    canvas.figure.legend(
        handles=[artist for artist, _ in entries],
        labels=[name for _, name in entries],
        loc=corner,
        bbox_to_anchor=(left / canvas.width, 1 - top / canvas.height),
        ncols=len(entries),
        frameon=False,
        fontsize=points(11 if crowded else 13),
        labelcolor=canvas.theme.ink,
        borderpad=0,
        borderaxespad=0,
        handletextpad=0.4,
        columnspacing=0.7 if crowded else 1.2,
        handlelength=1.5,
        handleheight=0.9,
    )


def _marks(rows: Columns, theme: Theme) -> list[tuple[Artist, str]]:
    """Return shapes and colours of the kinds, then severities in a neutral colour."""
    from matplotlib.lines import Line2D

    marks, dots = marks_and_dots(rows)
    present, severities = set(rows["kind"]), set(marks["severity"])
    entries: list[tuple[dict[str, Any], str]] = [
        (mark_looks(kind, "alert", theme), name) for kind, (_, name) in KINDS.items() if kind in present
    ]
    entries += [(severity_looks(each, theme.faint, theme), each) for each in SEVERITIES if each in severities]
    if len(dots):
        entries.append((dot_looks(theme.faint, theme), "also flagged"))
    return [(Line2D([], [], **look), name) for look, name in entries]


def _areas(tracks: Sequence[Track], events: Sequence[EventShade], theme: Theme) -> list[tuple[Artist, str]]:
    from matplotlib.patches import Patch

    entries: list[tuple[Artist, str]] = []
    if events:
        entries.append((Patch(color=theme.event, linewidth=0), "market event"))
    if any(np.isfinite(track.expected_move).any() for track in tracks):
        entries.append((Patch(color=theme.one_sigma, linewidth=0), "expected, 1\N{GREEK SMALL LETTER SIGMA}"))
        entries.append((Patch(color=theme.three_sigma, linewidth=0), "3\N{GREEK SMALL LETTER SIGMA}"))
    if any(track.silences for track in tracks):
        silent = Patch(facecolor="none", edgecolor=theme.silence, hatch="////", linewidth=0)
        entries.append((silent, "no quotes"))
    return entries
