"""A few words beside the most severe marks of a chart, where they cover neither line nor marks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from market_pipeline.anomalies.words.formatting import format_duration
from market_pipeline.charts.canvas import Canvas, points
from market_pipeline.charts.headline import signed_percent
from market_pipeline.charts.marks import Spot
from market_pipeline.charts.panel import Panel
from market_pipeline.charts.track import Floats, Track
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.text import Text


_MOST = 6
_LETTERS = 13
# How far from its mark a label may be, pixels.
_DISTANCES = (14, 30, 52, 80)
_AIR = 4
# A pixel farther from its mark is as bad as so many points of the line hidden.
_FAR = 0.4


@dataclass(frozen=True)
class Area:
    """A rectangle in pixels from the lower left corner of the panel."""

    left: float
    low: float
    right: float
    high: float

    def meets(self, other: Area) -> bool:
        return (
            self.left < other.right + _AIR
            and other.left < self.right + _AIR
            and self.low < other.high + _AIR
            and other.low < self.high + _AIR
        )

    def holds(self, x: Floats, y: Floats) -> int:
        """How many of the points are inside."""
        level = (y > self.low - _AIR) & (y < self.high + _AIR)
        return int((level & (x > self.left - _AIR) & (x < self.right + _AIR)).sum())


def draw_labels(canvas: Canvas, panel: Panel, track: Track) -> None:
    """Label the most severe marks of `panel`; one for which there is no room stays without."""
    x, y = _line(panel, track)
    marks = [_around(spot) for spot in panel.spots]
    taken: list[Area] = []
    for index in first_of_each_move(panel.marks)[:_MOST]:
        spot = panel.spots[index]
        text = panel.axes.text(
            0, 0, label_of(panel.marks, index), fontsize=points(_LETTERS), color=canvas.theme.ink,
            va="bottom", parse_math=False, zorder=7,
        )  # fmt: skip
        size = text.get_window_extent()
        free = [
            area
            for area in _places(spot, size.width, size.height, panel.box.width, panel.box.height)
            if not any(area.meets(other) for other in [*taken, *marks])
        ]
        if not free:
            text.remove()
            continue
        best = min(free, key=lambda area: _cost(area, spot, x, y, taken))
        taken.append(best)
        x, y = (np.append(one, more) for one, more in zip((x, y), _leader(best, spot)))
        _put(panel, text, best, spot, canvas.theme.faint)


def first_of_each_move(marks: Columns) -> list[int]:
    """Numbers of the marks without those that would say of the same quote what one before them says."""
    moves: dict[tuple[Any, str], int] = {}
    for index in range(len(marks)):
        moves.setdefault((marks["timestamp"][index], label_of(marks, index)), index)
    return list(moves.values())


def label_of(marks: Columns, index: int) -> str:
    """The move in a few words: `-15.2 % in 5 min`."""
    if marks["direction"][index] == "none":
        return f"unchanged for {format_duration(60 * marks['stale_minutes'][index])}"
    move, elapsed = marks["move"][index], marks["elapsed_seconds"][index]
    return f"{signed_percent(move)} in {format_duration(elapsed)}"


def _line(panel: Panel, track: Track) -> tuple[Floats, Floats]:
    """Points along the price line, a few pixels apart, in pixels."""
    (first, last), (low, high) = panel.axes.get_xlim(), panel.axes.get_ylim()
    hours = np.linspace(first, last, int(panel.box.width / 3))
    prices = np.interp(hours, track.hours, track.prices)
    x = np.concatenate([hours, track.hours])
    y = np.concatenate([prices, track.prices])
    return (x - first) / (last - first) * panel.box.width, (y - low) / (high - low) * panel.box.height


def _around(spot: Spot) -> Area:
    half = spot.size / 2
    return Area(spot.x - half, spot.y - half, spot.x + half, spot.y + half)


def _places(spot: Spot, width: float, height: float, right: float, high: float) -> Iterator[Area]:
    """Where a label may be: beside its mark, then above and below, near first, all of it in the panel."""
    for distance, (side, level) in product(_DISTANCES, ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))):
        left = spot.x + (distance if side > 0 else -distance - width)
        low = spot.y - height / 2 + level * distance
        if left >= 0 and left + width <= right and low >= 0 and low + height <= high:
            yield Area(left, low, left + width, low + height)


def _cost(area: Area, spot: Spot, x: Floats, y: Floats, taken: Sequence[Area]) -> float:
    """How much a label there would hide, and how far from its mark it is."""
    crossed = sum(other.holds(*_leader(area, spot)) for other in taken)
    distance = abs(_end(area, spot) - spot.x)
    return area.holds(x, y) + crossed + _FAR * distance


def _end(area: Area, spot: Spot) -> float:
    """Where, from the left, the thin line to a label ends: beside its first or last letter."""
    return area.left - 2 if area.left > spot.x else area.right + 2


def _leader(area: Area, spot: Spot) -> tuple[Floats, Floats]:
    """Points along the thin line from a mark to its label."""
    ways = np.linspace(0, 1, 20)
    level = (area.low + area.high) / 2
    return spot.x + ways * (_end(area, spot) - spot.x), spot.y + ways * (level - spot.y)


def _put(panel: Panel, text: Text, area: Area, spot: Spot, colour: str) -> None:
    """Move `text` to its place, with a thin line to its mark."""
    (first, last), (low, high) = panel.axes.get_xlim(), panel.axes.get_ylim()

    def hours(x: float) -> float:
        return float(first + x / panel.box.width * (last - first))

    def price(y: float) -> float:
        return float(low + y / panel.box.height * (high - low))

    text.set_position((hours(area.left), price(area.low)))
    x, y = _leader(area, spot)
    panel.axes.plot(
        [hours(x[0]), hours(x[-1])], [price(y[0]), price(y[-1])], color=colour, linewidth=0.8, zorder=5
    )
