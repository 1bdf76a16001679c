"""Flagged rows as marks: how each kind looks, which rows get one, and where it goes so that none covers another."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Severity, alarm_mask, importances
from market_pipeline.anomalies.words.formatting import format_signed
from market_pipeline.charts.canvas import points
from market_pipeline.charts.track import Span, days_of
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    from market_pipeline.charts.theme import Theme

# Marker and name in the order of the legend; market events are shades.
KINDS = {
    Kind.LARGE_MOVE.value: ("D", "large move"),
    Kind.JUMP.value: ("^", "jump"),
    Kind.IDIOSYNCRATIC.value: ("o", "this coin alone"),
    Kind.USER_THRESHOLD.value: ("s", "over your threshold"),
    Kind.GAP_MOVE.value: (">", "move over a gap"),
    Kind.BAD_TICK.value: ("X", "bad tick"),
    Kind.STALE_FEED.value: ("P", "stale feed"),
}
SEVERITIES = tuple(severity.value for severity in Severity)
# Widths in pixels. A watch is hollow.
SIZES = {Severity.WATCH.value: 10.0, Severity.ALERT.value: 11.0, Severity.CRITICAL.value: 16.0}
# Matplotlib's diamond is a square on its corner, wider than its size; crosses look smaller than they are.
_SCALES = {"D": 0.8, "s": 0.92, "X": 1.1, "P": 1.1}
_DOT = 6.0
_APART = 1.1
_MOST_LEVELS = 6


def mark_looks(kind: str, severity: str, theme: Theme) -> dict[str, Any]:
    """Return a mark as keyword arguments of Matplotlib's line; `kind` sets shape and colour."""
    marker = KINDS[kind][0]
    look = severity_looks(severity, theme.kinds[kind], theme)
    return {**look, "marker": marker, "markersize": look["markersize"] * _SCALES.get(marker, 1.0)}


def severity_looks(severity: str, colour: str, theme: Theme) -> dict[str, Any]:
    """Return the size and fill of a severity: hollow, full, large with a ring."""
    hollow = severity == Severity.WATCH.value
    return {
        "linestyle": "",
        "marker": "o",
        "markersize": points(SIZES[severity]),
        "markerfacecolor": theme.paper if hollow else colour,
        "markeredgecolor": colour if hollow else theme.paper,
        "markeredgewidth": 1.4 if hollow else 0.8,
    }


def dot_looks(colour: str, theme: Theme) -> dict[str, Any]:
    """Return a dot: a flagged quote of something that has its mark or its shade elsewhere."""
    full = severity_looks(Severity.ALERT.value, colour, theme)
    return {**full, "markersize": points(_DOT), "markeredgewidth": 0.5}


def marks_and_dots(rows: Columns) -> tuple[Columns, Columns]:
    """Split the flagged rows of one symbol into those with a mark and those with a dot.

    A mark for each episode of alarms, at its most severe row, the most severe mark first; a dot for every other row,
    such as the members' rows of a market event. Market events themselves are neither.
    """
    rows = rows.where(rows["kind"] != Kind.MARKET_MOVE.value)
    order = np.lexsort((days_of(rows["timestamp"]), -rows["score"], -importances(rows), -_ranks(rows)))
    alarm, marks, seen = alarm_mask(rows), [], set()
    for index in order:
        episode = (rows["kind"][index], rows["episode_id"][index])
        if alarm[index] and episode not in seen:
            seen.add(episode)
            marks.append(index)
    chosen = np.array(marks, dtype=np.intp)
    return rows.take(chosen), rows.take(np.setdiff1d(np.arange(len(rows)), chosen))


def _ranks(rows: Columns) -> NDArray[np.intp]:
    return np.array([SEVERITIES.index(severity) for severity in rows["severity"]], dtype=np.intp)


@dataclass(frozen=True)
class Spot:
    """Where a mark is or wants to be, in pixels from the lower left of its panel, and how wide it is."""

    x: float
    y: float
    size: float

    def meets(self, other: Spot) -> bool:
        """Return whether the two would touch."""
        reach = _APART * (self.size + other.size) / 2
        return abs(self.x - other.x) < reach and abs(self.y - other.y) < reach


def spread(wanted: Sequence[Spot], upward: Sequence[bool], height: float) -> list[Spot]:
    """Move marks apart: each stays or steps away from those before it, up or down, within the panel."""
    placed: list[Spot] = []
    for spot, up in zip(wanted, upward, strict=True):
        placed.append(_free(spot, placed, 1 if up else -1, height))
    return placed


def _free(spot: Spot, placed: Sequence[Spot], direction: int, height: float) -> Spot:
    near = [other for other in placed if abs(other.x - spot.x) < 2 * max(SIZES.values())]
    lowest, highest = spot.size / 2, height - spot.size / 2
    spot = Spot(spot.x, min(max(spot.y, lowest), highest), spot.size)
    for side in (direction, -direction):
        candidate = spot
        for _ in range(_MOST_LEVELS):
            blocking = [other for other in near if candidate.meets(other)]
            if not blocking:
                return candidate
            beyond = [other.y + side * 1.001 * _APART * (other.size + spot.size) / 2 for other in blocking]
            candidate = Spot(spot.x, max(beyond) if side > 0 else min(beyond), spot.size)
            if not lowest <= candidate.y <= highest:
                break
    return spot


@dataclass(frozen=True)
class EventShade:
    """A move of the whole market, from `first` to `last` (days since 1970, UTC)."""

    first: float
    last: float
    severity: str
    members: tuple[str, ...]
    direction: str
    move: float

    @property
    def name(self) -> str:
        """What is written above it."""
        move = {"up": "rise", "down": "fall"}.get(self.direction, "move")
        if math.isfinite(self.move):
            move = format_signed(self.move)
        return f"Market {move}, {len(self.members)} coins, {self.severity}"


def event_shades(rows: Columns, span: Span = (-np.inf, np.inf)) -> list[EventShade]:
    """Return the market events among `rows` that reach into `span`, in time order.

    Rows of one episode, such as those of an event that continues after midnight, are one event: it has the time and the
    members of all of them and the severity and direction of the most severe one.
    """
    rows = rows.where(rows["kind"] == Kind.MARKET_MOVE.value)
    firsts, lasts = days_of(rows["episode_first"]), days_of(rows["episode_last"])
    severities, moves = rows["severity"], rows["market_move"].astype(np.float64)
    events: dict[str, EventShade] = {}
    for index in np.lexsort((firsts, -_ranks(rows))):
        first, last = float(firsts[index]), float(lasts[index])
        members = tuple(str(rows["members"][index] or "").replace(" ", "").split(","))
        known = events.setdefault(
            rows["episode_id"][index],
            EventShade(first, last, severities[index], members, rows["direction"][index], float(moves[index])),
        )
        events[rows["episode_id"][index]] = replace(
            known,
            first=min(known.first, first),
            last=max(known.last, last),
            members=tuple(dict.fromkeys([*known.members, *members])),
        )
    inside = [event for event in events.values() if event.last >= span[0] and event.first <= span[1]]
    return sorted(inside, key=lambda event: event.first)
