"""The headline of a panel: its key figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, alarm_mask
from market_pipeline.anomalies.words.formatting import format_price, format_signed
from market_pipeline.charts.marks import EventShade
from market_pipeline.charts.track import Track
from market_pipeline.core.columns import Columns


@dataclass(frozen=True)
class Headline:
    """Last price, change, volatility now; empty where unknown.

    `alarms` are the number of alarms and of market events that the symbol is a member of; empty without any.
    """

    price: str
    change: str
    volatility: str
    alarms: tuple[str, ...]


def headline_of(track: Track, flagged: Columns, events: Sequence[EventShade], change: str) -> Headline:
    """Return the headline of a panel with the `flagged` rows of its symbol, the market events of all, and its change.

    That is `change_drawn`, or `change_of_day` where the picture is of the last 24 hours.
    """
    alarms = _alarms(flagged, sum(track.symbol in event.members for event in events))
    if not len(track):
        return Headline("", "", "", alarms)
    known = track.volatility[np.isfinite(track.volatility)]
    volatility = f"volatility {known[-1]:,.0%} a year" if len(known) else ""
    return Headline(format_price(track.prices[-1]), change, volatility, alarms)


def _alarms(flagged: Columns, events: int) -> tuple[str, ...]:
    """Count alarms without market events, which count for every member."""
    own = flagged.where(alarm_mask(flagged) & (flagged["kind"] != Kind.MARKET_MOVE.value))
    alarms, episodes = len(own), len(set(own["episode_id"]))
    words = []
    if alarms:
        in_episodes = f" in {_counted(episodes, 'episode')}" if episodes < alarms else ""
        words.append(_counted(alarms, "alarm") + in_episodes)
    if events:
        words.append(_counted(events, "market event"))
    return tuple(words)


def _counted(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def change_of_day(change: float | None) -> str:
    """Write the 24 h change of `storage.queries.latest`, which is the same wherever it is shown."""
    return "" if change is None else f"{format_signed(change)} in 24 h"


def change_drawn(track: Track) -> str:
    """Write the change over the quotes drawn, which may span less than the picture."""
    if not len(track):
        return ""
    hours = round(24 * float(track.days[-1] - track.days[0]))
    if hours < 1:
        return ""
    span = f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"
    return f"{format_signed(track.prices[-1] / track.prices[0] - 1)} in {span}"
