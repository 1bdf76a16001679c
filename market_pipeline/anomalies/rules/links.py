"""The members of market events: which rows of the coins are evidence of one rather than alarms of their own.

A row is linked if its quote lies in an event's time (or in the hour after it, or in the move with which
it began), its coin is one of those that moved, and the market accounts for it. What a coin does alone
stands on its own, market event or not.
"""

import math
from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.market_events import MINUTE, MarketEvent
from market_pipeline.anomalies.rules.score_table import ScoreTable, same_day

_LINKED = (Kind.USER_THRESHOLD, Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE)


def link_members(
    table: ScoreTable, candidates: list[Candidate], events: list[MarketEvent], settings: DetectionSettings
) -> list[Candidate]:
    """`candidates` with the event of each that is part of one; what a coin does alone stands on its own."""
    linked = []
    for candidate in candidates:
        event = _event_of(table, candidate, events, settings)
        if event is not None and candidate.market is not None:
            market = replace(candidate.market, scope=_scope(table, candidate, settings))
            event_id = id_of(table, Kind.MARKET_MOVE, event.candidate.at)
            candidate = replace(candidate, market=market, event_id=event_id)
        linked.append(candidate)
    return linked


def _event_of(
    table: ScoreTable, candidate: Candidate, events: list[MarketEvent], settings: DetectionSettings
) -> MarketEvent | None:
    if candidate.kind not in _LINKED or candidate.event_id is not None:
        return None
    moment = int(table.moments[candidate.at])
    width = int(settings.episode_minutes * MINUTE)
    for event in events:
        inside = event.first - event.lead <= moment <= event.last + width
        if inside and same_day(moment, event.first) and _is_part(table, candidate, event, settings):
            return event
    return None


def _is_part(
    table: ScoreTable, candidate: Candidate, event: MarketEvent, settings: DetectionSettings
) -> bool:
    """Whether the market accounts for the move, or for part of it.

    Where that part is small and the move goes against the event, what is left must not be flagged.
    """
    scope = candidate.market.scope if candidate.market else Scope.UNKNOWN
    if scope is Scope.IDIOSYNCRATIC or table.symbol(candidate.at) not in event.moves:
        return False
    with_event = log_move(table, candidate.before, candidate.at) * event.direction > 0
    return scope is Scope.MARKET or with_event or table.number("residual_p", candidate.at) >= settings.watch_p


def _scope(table: ScoreTable, candidate: Candidate, settings: DetectionSettings) -> Scope:
    """A member's move is the market's, unless it went further by more than chance."""
    if candidate.kind is Kind.LARGE_MOVE and candidate.market and candidate.market.scope is not Scope.UNKNOWN:
        return candidate.market.scope
    further = table.number("residual_z", candidate.at) * table.number("z", candidate.at) > 0
    flagged = table.number("residual_p", candidate.at) < settings.watch_p
    return Scope.MIXED if further and flagged else Scope.MARKET


# Where two are as rare as each other, the first of these stands for both.
_ORDER = (Kind.JUMP, Kind.GAP_MOVE, Kind.LARGE_MOVE, Kind.IDIOSYNCRATIC, Kind.USER_THRESHOLD)


def link_same_quote(table: ScoreTable, candidates: Iterable[Candidate]) -> list[Candidate]:
    """`candidates` with the id of the row that stands for them in those that share its quote.

    Those that belong to something else already are left as they are.
    """
    kept = list(candidates)
    leaders: dict[int, Candidate] = {}
    for candidate in kept:
        if _is_free(candidate):
            leaders[candidate.at] = min(leaders.get(candidate.at, candidate), candidate, key=_rarity)
    return [_linked(table, candidate, leaders) for candidate in kept]


def _is_free(candidate: Candidate) -> bool:
    return candidate.kind in _ORDER and candidate.event_id is None


def _rarity(candidate: Candidate) -> tuple[float, int]:
    p = 1.0 if math.isnan(candidate.p) else candidate.p
    return p, _ORDER.index(candidate.kind)


def _linked(table: ScoreTable, candidate: Candidate, leaders: dict[int, Candidate]) -> Candidate:
    if not _is_free(candidate) or leaders[candidate.at] is candidate:
        return candidate
    leader = leaders[candidate.at]
    return replace(candidate, event_id=id_of(table, leader.kind, leader.at))
