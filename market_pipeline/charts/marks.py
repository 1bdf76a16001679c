"""How the kinds of anomalies look, and where their marks go so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from market_pipeline.anomalies.anomaly import Kind, Severity
from market_pipeline.charts.canvas import points

if TYPE_CHECKING:
    from market_pipeline.charts.theme import Theme

# The order is that of the key. Market events are shaded.
SHAPES = {
    Kind.LARGE_MOVE.value: "D",
    Kind.JUMP.value: "^",
    Kind.IDIOSYNCRATIC.value: "o",
    Kind.USER_THRESHOLD.value: "s",
    Kind.GAP_MOVE.value: ">",
    Kind.BAD_TICK.value: "X",
    Kind.STALE_FEED.value: "P",
}
NAMES = {
    Kind.LARGE_MOVE.value: "large move",
    Kind.JUMP.value: "jump",
    Kind.IDIOSYNCRATIC.value: "this coin alone",
    Kind.USER_THRESHOLD.value: "over your threshold",
    Kind.GAP_MOVE.value: "move over a gap",
    Kind.BAD_TICK.value: "bad tick",
    Kind.STALE_FEED.value: "stale feed",
}
# Widths in pixels. A watch is hollow.
SIZES = {Severity.WATCH.value: 10.0, Severity.ALERT.value: 11.0, Severity.CRITICAL.value: 16.0}
# Matplotlib's diamond is a square on its corner, wider than its size; crosses look smaller than they are.
_SCALES = {"D": 0.8, "s": 0.92, "X": 1.1, "P": 1.1}
_DOT = 6.0
_APART = 1.1
_MOST_LEVELS = 6


@dataclass(frozen=True)
class Spot:
    """Where a mark is or wants to be, in pixels from the lower left of its panel, and how wide it is."""

    x: float
    y: float
    size: float

    def meets(self, other: Spot) -> bool:
        """Whether the two would touch."""
        reach = _APART * (self.size + other.size) / 2
        return abs(self.x - other.x) < reach and abs(self.y - other.y) < reach


def spread(wanted: Sequence[Spot], upward: Sequence[bool], height: float) -> list[Spot]:
    """The marks moved apart: each stays where it is or steps away from those before it, up or down.

    A mark that would leave the panel steps the other way.
    """
    placed: list[Spot] = []
    for spot, up in zip(wanted, upward):
        placed.append(_free(spot, placed, 1 if up else -1, height))
    return placed


def _free(spot: Spot, placed: Sequence[Spot], direction: int, height: float) -> Spot:
    near = [other for other in placed if abs(other.x - spot.x) < 2 * max(SIZES.values())]
    inside = min(max(spot.y, spot.size / 2), height - spot.size / 2)
    spot = Spot(spot.x, inside, spot.size)
    for side in (direction, -direction):
        candidate = spot
        for _ in range(_MOST_LEVELS):
            blocking = [other for other in near if candidate.meets(other)]
            if not blocking:
                return candidate
            beyond = [other.y + side * 1.001 * _APART * (other.size + spot.size) / 2 for other in blocking]
            candidate = Spot(spot.x, max(beyond) if side > 0 else min(beyond), spot.size)
            if not spot.size / 2 <= candidate.y <= height - spot.size / 2:
                break
    return spot


def looks(kind: str, severity: str, theme: Theme) -> dict[str, Any]:
    """A mark of `kind` as keyword arguments of Matplotlib's line: shape, colour, size, fill."""
    look = severity_looks(severity, theme.kinds[kind], theme)
    look["markersize"] *= _SCALES.get(SHAPES[kind], 1.0)
    return {"marker": SHAPES[kind], **look}


def severity_looks(severity: str, colour: str, theme: Theme) -> dict[str, Any]:
    """Size and fill tell the severity, whatever the shape: hollow, full, large with a ring."""
    hollow = severity == Severity.WATCH.value
    return {
        "linestyle": "",
        "markersize": points(SIZES[severity]),
        "markerfacecolor": theme.paper if hollow else colour,
        "markeredgecolor": colour if hollow else theme.paper,
        "markeredgewidth": 1.4 if hollow else 0.8,
    }


def dot_looks(colour: str, theme: Theme) -> dict[str, Any]:
    """One more flagged quote of something that has its mark or its shade elsewhere."""
    return {
        "linestyle": "",
        "marker": "o",
        "markersize": points(_DOT),
        "markerfacecolor": colour,
        "markeredgecolor": theme.paper,
        "markeredgewidth": 0.5,
    }
