"""The key above the panels: only of what the picture shows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.charts.canvas import WIDTH, Canvas, points
from market_pipeline.charts.marks import (
    NAMES,
    SEVERITIES,
    SHAPES,
    EventShade,
    dot_looks,
    looks,
    marks_and_dots,
    severity_looks,
)
from market_pipeline.charts.track import Track
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from market_pipeline.charts.theme import Theme


MARGIN = 14
KEY_LINE = 30



def draw_key(
    canvas: Canvas, top: float, tracks: Sequence[Track], rows: Columns, events: Sequence[EventShade]
) -> None:
    """What areas mean, at the right with its upper edge at `top`; below, what marks mean.

    `rows` are the flagged rows of the symbols drawn.
    """
    _draw(canvas, _ground(tracks, events, canvas.theme), WIDTH - MARGIN, top, "upper right")
    _draw(canvas, _kinds(rows, canvas.theme), MARGIN, top + KEY_LINE, "upper left")


def has_marks(rows: Columns) -> bool:
    """Whether the key has the line of marks."""
    return bool((rows["kind"] != Kind.MARKET_MOVE.value).any())


def _draw(
    canvas: Canvas, entries: Sequence[tuple[Artist, str]], left: float, top: float,
    corner: Literal["upper left", "upper right"],
) -> None:
    if not entries:
        return
    canvas.figure.legend(
        handles=[artist for artist, _ in entries], labels=[name for _, name in entries], loc=corner,
        bbox_to_anchor=(left / WIDTH, 1 - top / canvas.height), ncols=len(entries), frameon=False,
        fontsize=points(13), labelcolor=canvas.theme.ink, borderpad=0, borderaxespad=0,
        handletextpad=0.4, columnspacing=1.2, handlelength=1.5, handleheight=0.9,
    )  # fmt: skip


def _kinds(rows: Columns, theme: Theme) -> list[tuple[Artist, str]]:
    """The shapes and colours of the kinds, then the severities, in a neutral colour."""
    from matplotlib.lines import Line2D

    marks, dots = marks_and_dots(rows)
    kinds = set(rows["kind"])
    entries: list[tuple[dict[str, Any], str]] = [
        (looks(kind, "alert", theme), NAMES[kind]) for kind in SHAPES if kind in kinds
    ]
    entries += [
        ({"marker": "o", **severity_looks(severity, theme.faint, theme)}, severity)
        for severity in SEVERITIES
        if severity in set(marks["severity"])
    ]
    if len(dots):
        entries.append((dot_looks(theme.faint, theme), "also flagged"))
    return [(Line2D([], [], **look), name) for look, name in entries]


def _ground(
    tracks: Sequence[Track], events: Sequence[EventShade], theme: Theme
) -> list[tuple[Artist, str]]:
    """Shaded areas: market events, the band, silences."""
    from matplotlib.patches import Patch

    entries: list[tuple[Artist, str]] = []
    if events:
        entries.append((Patch(color=theme.event, linewidth=0), "market event"))
    if any(np.isfinite(track.expected_move).any() for track in tracks):
        entries.append((Patch(color=theme.one_sigma, linewidth=0), "expected, 1σ"))
        entries.append((Patch(color=theme.three_sigma, linewidth=0), "3σ"))
    if any(track.silences for track in tracks):
        silent = Patch(facecolor="none", edgecolor=theme.silence, hatch="////", linewidth=0)
        entries.append((silent, "no quotes"))
    return entries
