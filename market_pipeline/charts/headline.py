"""The words beside a panel: what the picture comes down to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, alarm_mask
from market_pipeline.anomalies.words.formatting import format_price
from market_pipeline.charts.marks import EventShade
from market_pipeline.charts.track import Track
from market_pipeline.core.columns import Columns


@dataclass(frozen=True)
class Headline:
    """Last price, change over the quotes drawn, volatility now; empty where not known.

    `alarms` tells the number of alarms, and of market events that the symbol was a member of.
    """

    price: str
    change: str
    volatility: str
    alarms: tuple[str, ...]


def headline_of(track: Track, flagged: Columns, events: Sequence[EventShade]) -> Headline:
    """The headline of a panel with the `flagged` rows of its symbol and the market events of all."""
    alarms = _alarms(flagged, sum(track.symbol in event.members for event in events))
    if not len(track):
        return Headline("", "", "", alarms)
    return Headline(format_price(track.prices[-1]), _change(track), _volatility(track), alarms)


def _alarms(flagged: Columns, events: int) -> tuple[str, ...]:
    """Alarms without market events, which are counted for every member."""
    own = flagged.where(alarm_mask(flagged) & (flagged["kind"] != Kind.MARKET_MOVE.value))
    episodes = len(set(own["episode_id"]))
    words = []
    if episodes:
        counted = f"{len(own)} {'alarm' if len(own) == 1 else 'alarms'}"
        in_episodes = f" in {episodes} {'episode' if episodes == 1 else 'episodes'}"
        words.append(counted + (in_episodes if episodes < len(own) else ""))
    if events:
        words.append(f"{events} market {'event' if events == 1 else 'events'}")
    return tuple(words)


def _change(track: Track) -> str:
    """Over the quotes drawn, which may be fewer hours than asked for."""
    hours = round(float(track.hours[-1] - track.hours[0]))
    if hours < 1:
        return ""
    span = f"{hours} h" if hours < 48 else f"{round(hours / 24)} days"
    return f"{signed_percent(track.prices[-1] / track.prices[0] - 1)} in {span}"


def _volatility(track: Track) -> str:
    known = track.volatility[np.isfinite(track.volatility)]
    return f"volatility {100 * known[-1]:,.0f} % a year" if len(known) else ""


def signed_percent(fraction: float) -> str:
    """A simple return with its sign: 0.05 is `+5.0 %`."""
    percent = 100 * fraction
    digits = 0 if abs(percent) >= 100 else 1 if abs(percent) >= 10 else 2
    return f"{percent:+,.{digits}f} %".replace("-", "\N{MINUS SIGN}")
