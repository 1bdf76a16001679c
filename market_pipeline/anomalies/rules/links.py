"""Links: which row represents which. The id of the representing row becomes the `event_id` of the others.

- A row is a member of a market event if its quote lies in the event's time (or in the hour after it, or in the move
  that began it), its coin is one of those that moved, and the market accounts for it. What a coin does alone is an
  alarm of its own, market event or not.
- Where several rules flag one quote of one coin, the rarest row by its p represents the others. Each keeps its row,
  because the rules answer different questions, but together they are one alarm.

(The legs of bad ticks are linked in `bad_ticks`.)
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.market_events import MarketEvent
from market_pipeline.anomalies.rules.score_table import MINUTE, ScoreTable, same_day

_MEMBERS = (Kind.USER_THRESHOLD, Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE)
# Of equally rare rows about one quote the first of these represents the others.
_RANKING = (Kind.JUMP, Kind.GAP_MOVE, Kind.LARGE_MOVE, Kind.IDIOSYNCRATIC, Kind.USER_THRESHOLD)


def link_members(
    table: ScoreTable, candidates: list[Candidate], events: list[MarketEvent], settings: DetectionSettings
) -> list[Candidate]:
    """Return `candidates` with the event of each that is a member of one."""
    linked = []
    for candidate in candidates:
        event = _event_of(table, candidate, events, settings)
        if event is not None and candidate.market is not None:
            market = replace(candidate.market, scope=_member_scope(table, candidate, settings))
            event_id = id_of(table, Kind.MARKET_MOVE, event.candidate.at)
            candidate = replace(candidate, market=market, event_id=event_id)
        linked.append(candidate)
    return linked


def _event_of(
    table: ScoreTable, candidate: Candidate, events: list[MarketEvent], settings: DetectionSettings
) -> MarketEvent | None:
    if candidate.kind not in _MEMBERS or candidate.event_id is not None:
        return None
    moment = table.moment(candidate.at)
    width = int(settings.episode_minutes * MINUTE)
    for event in events:
        inside = event.first - event.lead <= moment <= event.last + width
        if inside and same_day(moment, event.first) and _is_member(table, candidate, event, settings):
            return event
    return None


def _is_member(table: ScoreTable, candidate: Candidate, event: MarketEvent, settings: DetectionSettings) -> bool:
    """Return whether the market accounts for the move, or for part of it.

    Where that part is small and the move goes against the event, the residual must not be flagged.
    """
    scope = candidate.market.scope if candidate.market else Scope.UNKNOWN
    if scope is Scope.IDIOSYNCRATIC or table.symbol(candidate.at) not in event.moves:
        return False
    with_event = table.log_move(candidate.before, candidate.at) * event.direction > 0
    return scope is Scope.MARKET or with_event or table.number("residual_p", candidate.at) >= settings.watch_p


def _member_scope(table: ScoreTable, candidate: Candidate, settings: DetectionSettings) -> Scope:
    """Return market, unless the coin went further than the market by more than chance."""
    if candidate.kind is Kind.LARGE_MOVE and candidate.market and candidate.market.scope is not Scope.UNKNOWN:
        return candidate.market.scope
    further = table.number("residual_z", candidate.at) * table.number("z", candidate.at) > 0
    flagged = table.number("residual_p", candidate.at) < settings.watch_p
    return Scope.MIXED if further and flagged else Scope.MARKET


def link_same_quote(table: ScoreTable, candidates: Iterable[Candidate]) -> list[Candidate]:
    """Return `candidates` with the id of the rarest row in the others about its quote; linked rows stay as they are."""
    every = list(candidates)
    rarest: dict[int, Candidate] = {}
    for candidate in filter(_is_unlinked, every):
        rarest[candidate.at] = min(rarest.get(candidate.at, candidate), candidate, key=_rarity)
    return [
        replace(candidate, event_id=id_of(table, rarest[candidate.at].kind, candidate.at))
        if _is_unlinked(candidate) and rarest[candidate.at] is not candidate
        else candidate
        for candidate in every
    ]


def _is_unlinked(candidate: Candidate) -> bool:
    return candidate.kind in _RANKING and candidate.event_id is None


def _rarity(candidate: Candidate) -> tuple[float, int]:
    p = 1.0 if math.isnan(candidate.p) else candidate.p
    return p, _RANKING.index(candidate.kind)
