"""Labels beside the most severe marks of a chart, where they cover neither line nor marks."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import TYPE_CHECKING, Any

import numpy as np

from market_pipeline.anomalies.words.formatting import format_duration, format_signed
from market_pipeline.charts.canvas import Box, Canvas, points
from market_pipeline.charts.marks import Spot
from market_pipeline.charts.panel import Panel
from market_pipeline.charts.track import Floats, Track
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from matplotlib.transforms import Bbox

_MOST = 6
_LETTERS = 13
# Width of an average letter, and height of a line, in pixels.
_LETTER, _LINE = 7.6, 15
# Distances of a label from its mark, pixels.
_DISTANCES = (14, 30, 52, 80)
_SIDES = ((1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1))
_AIR = 4
# A pixel of distance from the mark costs as much as hiding this many points of the line.
_FAR = 0.4


def draw_labels(canvas: Canvas, panel: Panel, track: Track) -> None:
    """Label the most severe marks of `panel`; one without room stays unlabelled."""
    line = _line(panel, track)
    taken = [_around(spot) for spot in panel.spots]
    leaders: list[Floats] = []
    for index in first_of_each_move(panel.marks)[:_MOST]:
        spot, words = panel.spots[index], label_of(panel.marks, index)
        free = [area for area in _places(spot, words, panel.box) if not area.padded(_AIR).count_overlaps(taken)]
        if not free:
            continue
        costs = [_cost(area, spot, np.concatenate([line, *leaders])) for area in free]
        best = free[int(np.argmin(costs))]
        taken.append(best)
        leaders.append(_leader(best, spot))
        panel.axes.annotate(
            words,
            xy=(points(spot.x), points(spot.y)),
            xycoords="axes points",
            xytext=(points(best.x0), points(best.y0)),
            textcoords="axes points",
            fontsize=points(_LETTERS),
            color=canvas.theme.ink,
            va="bottom",
            parse_math=False,
            zorder=5,
            arrowprops={
                "arrowstyle": "-",
                "color": canvas.theme.faint,
                "linewidth": 0.8,
                "shrinkA": 3,
                "shrinkB": points(spot.size / 2),
                "relpos": (0.0 if best.x0 > spot.x else 1.0, 0.5),
            },
        )


def first_of_each_move(marks: Columns) -> list[int]:
    """Return the numbers of the marks without those that repeat the label of an earlier one at the same quote."""
    moves: dict[tuple[Any, str], int] = {}
    for index in range(len(marks)):
        moves.setdefault((marks["timestamp"][index], label_of(marks, index)), index)
    return list(moves.values())


def label_of(marks: Columns, index: int) -> str:
    """Describe a move in a few words: `-15.2% in 5 min`."""
    if marks["direction"][index] == "none":
        return f"unchanged for {format_duration(60 * marks['stale_minutes'][index])}"
    return f"{format_signed(marks['move'][index])} in {format_duration(marks['elapsed_seconds'][index])}"


def _line(panel: Panel, track: Track) -> Floats:
    """Return points along the price line, a few pixels apart, in pixels."""
    days = np.linspace(*panel.axes.get_xlim(), int(panel.box.width / 3))
    return panel.pixels(np.concatenate([days, track.days]), np.concatenate([track.line_at(days), track.prices]))


def _around(spot: Spot) -> Bbox:
    from matplotlib.transforms import Bbox

    return Bbox.from_bounds(spot.x - spot.size / 2, spot.y - spot.size / 2, spot.size, spot.size)


def _places(spot: Spot, words: str, box: Box) -> Iterator[Bbox]:
    """Yield where a label may be: beside its mark, then above and below, near first, all of it in the panel."""
    from matplotlib.transforms import Bbox

    width = len(words) * _LETTER
    for distance, (side, level) in product(_DISTANCES, _SIDES):
        left = spot.x + (distance if side > 0 else -distance - width)
        low = spot.y - _LINE / 2 + level * distance
        if left >= 0 and left + width <= box.width and low >= 0 and low + _LINE <= box.height:
            yield Bbox.from_bounds(left, low, width, _LINE)


def _cost(area: Bbox, spot: Spot, drawn: Floats) -> float:
    """Return how many points of what is drawn a label and its leader would hide, and how far away it is."""
    hidden = area.padded(_AIR).count_contains(drawn)
    return float(hidden + _FAR * abs(_leader(area, spot)[-1, 0] - spot.x))


def _leader(area: Bbox, spot: Spot) -> Floats:
    """Return points along the thin line from a mark to the first or last letter of its label."""
    end = area.x0 - 2 if area.x0 > spot.x else area.x1 + 2
    return np.linspace((spot.x, spot.y), (end, (area.y0 + area.y1) / 2), 20, dtype=np.float64)
