"""Derive the messages to send from the present conditions and the open episodes. Pure functions.

One message when a condition begins, one if it becomes critical, one when it is over. A condition that is only hidden
by another is not over, and one that returns within two minutes continues.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from market_pipeline.alerts.signals import (
    CONSEQUENCES,
    Signal,
    expired,
    hidden,
    is_cause,
    level_of,
    signals,
    title_of,
)
from market_pipeline.alerts.texts import Place, condition_text, recovery_text
from market_pipeline.core.clock import is_due
from market_pipeline.pipeline.conditions import Condition
from market_pipeline.pipeline.facts import InstallationState
from market_pipeline.storage.queries.alert_outbox import LEVELS, AlertMessage
from market_pipeline.storage.queries.alert_state import ANY, CLOCKS_DIFFER, OpenEpisode, Snooze

# A condition that is absent for this long is over.
OVER_AFTER = timedelta(minutes=2)


@dataclass
class Changes:
    """What to store: episodes, the keys of those that are over, and messages."""

    saved: list[OpenEpisode] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    messages: list[AlertMessage] = field(default_factory=list)


def advance(
    before: Sequence[OpenEpisode], found: Sequence[Condition], state: InstallationState, snoozed: Sequence[Snooze],
    place: Place,
) -> Changes:
    """Return what changes at the time of `state`, in which `found` is wrong."""
    now, changes = state.now, Changes()
    known = {episode.key: episode for episode in before}
    present = signals(found, state)
    wanted = [one for one in present if not is_snoozed((one.symbol,), one.kind, snoozed, now)]
    seen = {signal.key for signal in present}
    # The first tick after it has not ended yet.
    just_mended = any(is_cause(episode.key) for episode in before if episode.key not in seen)
    new = [one for one in wanted if one.key not in known and not (just_mended and one.kind in CONSEQUENCES)]
    _open(changes, new, state, place)
    _continue(changes, [(known[one.key], one) for one in wanted if one.key in known], state, place)
    is_hidden = hidden(found, state)
    absent = [episode for episode in before if episode.key not in seen and not is_hidden(episode.kind)]
    over = [episode for episode in absent if is_due(episode.seen_at + OVER_AFTER, now, OVER_AFTER + CLOCKS_DIFFER)]
    changes.closed = [episode.key for episode in over]
    recovered = [
        episode for episode in over
        if not expired(episode.key, state) and not is_snoozed((episode.symbol,), episode.kind, snoozed, now)
    ]
    _recover(changes, recovered, before, now, place)
    return changes


def is_snoozed(symbols: Sequence[str], kind: str, snoozed: Iterable[Snooze], now: datetime) -> bool:
    """Return whether messages about these symbols (one may be empty) and this kind are snoozed at `now`."""
    lasting = [one for one in snoozed if one.until > now and one.kind in (ANY, kind)]
    names = {one.symbol for one in lasting}
    return ANY in names or (bool(symbols) and all(symbol in names for symbol in symbols))


def _open(changes: Changes, new: Sequence[Signal], state: InstallationState, place: Place) -> None:
    now = state.now
    for group in _grouped(new).values():
        first, symbols = group[0], tuple(signal.symbol for signal in group if signal.symbol)
        level = level_of(first.condition, state, timedelta())
        title = title_of(first.kind, first.condition.subject, symbols)
        episode = f"{first.key}@{now:%Y%m%dT%H%M%S}"
        text = condition_text(first.condition, now, now, place)
        changes.messages.append(AlertMessage(episode, "opened", first.kind, level, title, text, symbols))
        changes.saved += [
            OpenEpisode(signal.key, signal.kind, signal.symbol, level, title, episode, now, now) for signal in group
        ]


def _continue(
    changes: Changes, lasting: Sequence[tuple[OpenEpisode, Signal]], state: InstallationState, place: Place
) -> None:
    now = state.now
    by_episode: dict[str, list[tuple[OpenEpisode, Signal]]] = {}
    for episode, signal in lasting:
        by_episode.setdefault(episode.episode, []).append((episode, signal))
    for name, members in by_episode.items():
        episode, signal = members[0]
        # It was opened while the clock was ahead, if that is later.
        opened_at = min(episode.opened_at, now)
        level = level_of(signal.condition, state, now - opened_at)
        if LEVELS.index(level) > LEVELS.index(episode.level):
            symbols = tuple(one.symbol for one, _ in members if one.symbol)
            text = condition_text(signal.condition, opened_at, now, place)
            message = AlertMessage(name, "raised", episode.kind, level, episode.title, text, symbols)
            changes.messages.append(message)
        else:
            level = episode.level
        changes.saved += [replace(one, level=level, opened_at=opened_at, seen_at=now) for one, _ in members]


def _recover(
    changes: Changes, over: Sequence[OpenEpisode], before: Sequence[OpenEpisode], now: datetime, place: Place
) -> None:
    by_episode: dict[str, list[OpenEpisode]] = {}
    for episode in over:
        by_episode.setdefault(episode.episode, []).append(episode)
    closed = set(changes.closed)
    for name, members in by_episode.items():
        first, symbols = members[0], tuple(one.symbol for one in members if one.symbol)
        last = all(one.key in closed for one in before if one.episode == name)
        # Coins of one episode may recover one after the other.
        title = title_of(first.kind, "", symbols) if symbols else first.title
        text = recovery_text(min(first.opened_at, now), now, place)
        part = name if last else f"{name} {','.join(symbols)}"
        changes.messages.append(AlertMessage(part, "recovered", first.kind, first.level, title, text, symbols))


def _grouped(new: Sequence[Signal]) -> Mapping[str, list[Signal]]:
    groups: dict[str, list[Signal]] = {}
    for signal in new:
        groups.setdefault(signal.group, []).append(signal)
    return groups
