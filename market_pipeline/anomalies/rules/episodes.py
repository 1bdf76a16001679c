"""Episodes: flagged moves that are one move to a person, along the price of a coin or the path of the market.

A trigger is a flagged quote with the time at which the flagged move began. A trigger belongs to the open episode of its
direction unless it is a move of its own:

- at least half of the episode's move was undone, and then as much was lost (or won) again;
- the move at least doubled within the last width (60 minutes or 1.5 usual intervals), after more than that;
- the episode has not grown by a tenth for longer than a width, and the flagged move began after the peak, or at least
  half of it came then.

So the hours after a crash, in which every quote is far from the price of four hours before, begin nothing new.

An episode that crosses midnight belongs to the day of its first trigger, whose scoring decides: the next day gets it by
`carried` and neither begins nor extends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from market_pipeline.anomalies.rules.score_table import Positions
from market_pipeline.anomalies.series import Floats

_HALF = 0.5
# An episode goes on while its move grows by this factor, and after a pause by the second one: a calm walk may add a
# tenth hours later.
_GROWTH = 1.1
_REOPENING = 1.25
# After a pause of so many widths it is over.
_LONGEST_PAUSE = 4


class Path(Protocol):
    """Prices over time, of a coin or of the market."""

    def since(self, start: int, end: int) -> tuple[Positions, Floats]:
        """Return the times from `start` to `end` (microseconds), and the log moves from `start` to each."""
        ...


@dataclass(frozen=True)
class Trigger:
    """A flagged quote at position `at`: its time, when its move began (microseconds), its direction (1 or -1).

    `width` is how far apart neighbours may be, `coins` how many coins were flagged if it represents their moves; the
    rest is as in the row.
    """

    at: int
    moment: int
    start: int
    direction: int
    width: int
    days: float
    score: float
    threshold: float
    p: float
    tail: str
    coins: int = 0


@dataclass
class Episode:
    """A move from `start` to `peak`, first flagged at `first`; `size` is its log move at the peak, above zero.

    It is open until a width after `grown`, when it was last larger than before by a tenth, or by a quarter after a
    pause (`grown_size`).
    `settled` is whether it is the same whatever happened on the day before; `closed` whether it is yesterday's.
    """

    id: str
    direction: int
    start: int
    first: int
    peak: int
    last: int
    size: float
    settled: bool
    grown: int
    grown_size: float
    triggers: list[Trigger] = field(default_factory=list)
    closed: bool = False

    @property
    def rarest(self) -> Trigger:
        """The trigger with the longest return period, of equals the first."""
        return max(self.triggers, key=lambda trigger: trigger.days)

    def join(self, trigger: Trigger, move: float) -> None:
        """Add a trigger at which the signed log move since the start is `move`, unless it shows nothing new."""
        if self.closed or trigger.moment - self.grown > _LONGEST_PAUSE * trigger.width:
            return
        if move >= (_GROWTH if self.is_open(trigger) else _REOPENING) * self.grown_size:
            self.grown, self.grown_size = trigger.moment, move
        if self.is_open(trigger):
            self.triggers.append(trigger)
            self.last = trigger.moment
            if move > self.size:
                self.size, self.peak = move, trigger.moment

    def is_open(self, trigger: Trigger) -> bool:
        """Return whether a trigger comes soon after the move last grew by more than a little."""
        return trigger.moment - self.grown <= trigger.width


Begin = Callable[[Trigger, int], "str | None"]
Carried = Callable[[int], "Episode | None"]


@dataclass(frozen=True)
class Border:
    """The midnight at which a scored day begins, and the time up to which the day before saw it (microseconds)."""

    since: int
    morning: int

    def is_behind(self, trigger: Trigger) -> bool:
        """Return whether a trigger may continue an episode of the day before."""
        return trigger.start < self.since or trigger.moment - self.since <= trigger.width

    def is_far(self, trigger: Trigger) -> bool:
        """Return whether nothing of the day before can reach a trigger."""
        return trigger.start >= self.morning and trigger.moment - self.morning > trigger.width


def follow(
    triggers: Iterable[Trigger], path: Path, border: Border, begin: Begin, carried: Carried
) -> list[Episode | None]:
    """Return the episode of each of `triggers`, in time order; None for one that neither begins nor joins one.

    `begin` returns the id of an episode that begins with a trigger at a time, None to refuse it. `carried` returns
    yesterday's last episode of a direction.
    """
    owners: list[Episode | None] = []
    current: dict[int, Episode | None] = {}
    settled: dict[int, bool] = {}
    previous: dict[int, int] = {}
    for trigger in triggers:
        way = trigger.direction
        if way not in current and border.is_behind(trigger):
            current[way] = carried(way)
        episode = current.get(way)
        before, previous[way] = previous.get(way), trigger.moment
        quiet = before is None or (trigger.start >= before and trigger.moment - before > trigger.width)
        settled[way] = settled.get(way, False) or (quiet and border.is_far(trigger))
        start, move = _start(path, episode, trigger)
        name = None if start is None else begin(trigger, start)
        if start is not None and name is not None:
            moved = float(path.since(start, trigger.moment)[1][-1]) * way
            moment = trigger.moment
            episode = Episode(name, way, start, moment, moment, moment, moved, settled[way], moment, moved, [trigger])
            current[way] = episode
        elif episode is not None:
            episode.join(trigger, move)
        owners.append(episode)
    return owners


def _start(path: Path, episode: Episode | None, trigger: Trigger) -> tuple[int | None, float]:
    """Return when the move of a trigger began if it is not the episode's, and the signed move since its start."""
    way = trigger.direction
    if episode is None:
        return _turn(path, trigger.start, trigger), 0.0
    moments, moves = path.since(episode.start, trigger.moment)
    signed = moves * way
    now, peak = float(signed[-1]), int(np.searchsorted(moments, episode.peak, side="right")) - 1
    low = peak + int(np.argmin(signed[peak:]))
    if signed[low] <= _HALF * episode.size and now - signed[low] >= _HALF * episode.size:
        return _turn(path, max(trigger.start, episode.peak), trigger), now
    if episode.is_open(trigger):
        recent = int(np.searchsorted(moments, trigger.moment - trigger.width, side="right"))
        if 0 < recent and trigger.moment - episode.first > trigger.width and now >= 2 * signed[:recent].max():
            return int(moments[recent - 1 + int(np.argmin(signed[recent - 1 :]))]), now
        return None, now
    whole = float(path.since(trigger.start, trigger.moment)[1][-1]) * way
    if trigger.start >= episode.peak or now - signed[peak] >= _HALF * whole:
        return _turn(path, max(trigger.start, episode.peak), trigger), now
    return None, now


def _turn(path: Path, since: int, trigger: Trigger) -> int:
    """Return the time at which the path was furthest from where it is at a trigger, from `since` on."""
    moments, moves = path.since(since, trigger.moment)
    return int(moments[int(np.argmin(moves * trigger.direction))])
