"""What a picture shows of the flagged rows: which get a mark, which a dot, and which are market events."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Severity
from market_pipeline.charts.track import hours_of
from market_pipeline.storage.columns import Columns

SEVERITIES = tuple(severity.value for severity in Severity)


@dataclass(frozen=True)
class MarketEvent:
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

    def joined(self, other: MarketEvent) -> MarketEvent:
        """This event over the time of both, with the members of both."""
        return replace(
            self,
            first=min(self.first, other.first),
            last=max(self.last, other.last),
            members=tuple(dict.fromkeys([*self.members, *other.members])),
        )


def is_alarm(rows: Columns) -> NDArray[np.bool_]:
    """Which rows stand for themselves: not the members of a market event, which its own row counts."""
    alone = np.array([event is None or event == own for event, own in zip(rows["event_id"], rows["id"])])
    return alone.astype(np.bool_)


def market_events(rows: Columns) -> list[MarketEvent]:
    """The market events among `rows`, in time order.

    Rows of one episode, such as those of an event that goes on after midnight, are one event: it lasts
    as long as all of them, and the most severe one names it.
    """
    found = rows.where(rows["kind"] == Kind.MARKET_MOVE.value)
    firsts, lasts = hours_of(found["episode_first"]), hours_of(found["episode_last"])
    events: dict[str, MarketEvent] = {}
    rank = np.array([SEVERITIES.index(severity) for severity in found["severity"]], dtype=np.intp)
    for index in np.lexsort((firsts, -rank)):
        members = tuple(str(found["members"][index] or "").replace(" ", "").split(","))
        event = MarketEvent(
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
    alarm, marks, seen = is_alarm(rows), [], set()
    for index in order:
        episode = (rows["kind"][index], rows["episode_id"][index])
        if alarm[index] and episode not in seen:
            seen.add(episode)
            marks.append(index)
    chosen = np.array(marks, dtype=np.intp)
    return rows.take(chosen), rows.take(np.setdiff1d(np.arange(len(rows)), chosen))
