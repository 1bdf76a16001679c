"""How the kinds of anomalies look, and where their marks go so that none covers another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, Severity, alarm_mask
from market_pipeline.charts.canvas import points
from market_pipeline.charts.track import hours_of
from market_pipeline.core.columns import Columns

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


SEVERITIES = tuple(severity.value for severity in Severity)


@dataclass(frozen=True)
class EventShade:
    """A move of the whole market, from `first` to `last` (hours since 1970, UTC)."""

    first: float
    last: float
    severity: str
    members: tuple[str, ...]
    direction: str

    @property
    def name(self) -> str:
        verb = {"up": "rise", "down": "fall"}.get(self.direction, "move")
        return f"Market {verb}, {len(self.members)} coins, {self.severity}"

    def joined(self, other: EventShade) -> EventShade:
        """This event over the time of both, with the members of both."""
        return replace(
            self,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            members=tuple(dict.fromkeys([*self.members, *other.members])),
        )


def event_shades(rows: Columns) -> list[EventShade]:
    """The market events among `rows`, in time order.

    Rows of one episode, such as those of an event that goes on after midnight, are one event: it lasts
    as long as all of them, and the most severe one names it.
    """
    found = rows.where(rows["kind"] == Kind.MARKET_MOVE.value)
    firsts, lasts = hours_of(found["episode_first"]), hours_of(found["episode_last"])
    events: dict[str, EventShade] = {}
    rank = np.array([SEVERITIES.index(severity) for severity in found["severity"]], dtype=np.intp)
    for index in np.lexsort((firsts, -rank)):
        members = tuple(str(found["members"][index] or "").replace(" ", "").split(","))
        event = EventShade(
            float(firsts[index]), float(lasts[index]), str(found["severity"][index]), members,
            str(found["direction"][index]),
        )  # fmt: skip
        known = events.get(found["episode_id"][index])
        events[found["episode_id"][index]] = known.joined(event) if known else event
    return sorted(events.values(), key=lambda event: event.first)


def marks_and_dots(rows: Columns) -> tuple[Columns, Columns]:
    """Of the flagged rows of one symbol those that get a mark and those that get a dot.

    A mark for each episode of alarms, at its most severe row, the most severe mark first; a dot for
    every other row, such as the members' rows of a market event. Market events themselves are neither.
    """
    rows = rows.where(rows["kind"] != Kind.MARKET_MOVE.value)
    rank = np.array([SEVERITIES.index(severity) for severity in rows["severity"]], dtype=np.intp)
    order = np.lexsort((hours_of(rows["timestamp"]), -rows["score"], -rank))
    alarm, marks, seen = alarm_mask(rows), [], set()
    for index in order:
        episode = (rows["kind"][index], rows["episode_id"][index])
        if alarm[index] and episode not in seen:
            seen.add(episode)
            marks.append(index)
    chosen = np.array(marks, dtype=np.intp)
    return rows.take(chosen), rows.take(np.setdiff1d(np.arange(len(rows)), chosen))
