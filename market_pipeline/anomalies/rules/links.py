"""Members: the rows of single coins that a market event accounts for. They carry its id as `event_id`.

A row is a member if the market accounts for its move, and at least half of it happened during the event (from its start
to a width after it last grew), or part of it where it went with the market all the time. What a coin does alone,
against the event or far beyond it, is an alarm of its own.
"""

from collections.abc import Iterable
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.market_events import MarketEvent
from market_pipeline.anomalies.rules.score_table import ScoreTable

_MEMBERS = (Kind.USER_THRESHOLD, Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE)
_HALF = 0.5


def link_members(
    table: ScoreTable, candidates: Iterable[Candidate], events: list[MarketEvent], settings: DetectionSettings
) -> list[Candidate]:
    """Return `candidates` with the event of each that is a member of one."""
    linked = []
    for candidate in candidates:
        if candidate.kind in _MEMBERS and candidate.event_id is None and candidate.market is not None:
            members = [event for event in events if _is_member(table, candidate, event, settings)]
            if members:
                # One of the same direction, of several the last.
                event = max(members, key=lambda each: (_goes_with(table, candidate, each), each.episode.first))
                market = replace(candidate.market, scope=Scope.MARKET)
                candidate = replace(candidate, market=market, event_id=event.episode.id)
        linked.append(candidate)
    return linked


def _is_member(table: ScoreTable, candidate: Candidate, event: MarketEvent, settings: DetectionSettings) -> bool:
    """Return whether a move happened during an event and the market accounts for it."""
    scope = candidate.market.scope if candidate.market else Scope.UNKNOWN
    goes_with = _goes_with(table, candidate, event)
    if scope is Scope.MIXED:
        own = candidate.kind is not Kind.LARGE_MOVE and table.number("residual_p", candidate.at) < settings.watch_p
        explained = goes_with and not own
    else:
        explained = scope is Scope.MARKET or (scope is Scope.UNKNOWN and goes_with)
    if not explained:
        return False
    share = _share(table, candidate, event, settings)
    return share >= _HALF or (share > 0 and goes_with and scope is Scope.MARKET)


def _goes_with(table: ScoreTable, candidate: Candidate, event: MarketEvent) -> bool:
    return table.log_move(candidate.before, candidate.end) * event.episode.direction > 0


def _share(table: ScoreTable, candidate: Candidate, event: MarketEvent, settings: DetectionSettings) -> float:
    """Return which share of a candidate's move happened during an event."""
    width = table.width(candidate.at, settings.episode_minutes)
    start, end = event.episode.start, event.episode.grown + width
    if table.moment(candidate.at) < event.episode.first - width:
        return 0.0
    first, last = table.moment(candidate.before), table.moment(candidate.end)
    if last <= start or first >= end:
        return 0.0
    if first >= start and last <= end:
        return 1.0
    low = max(candidate.before, table.first_from(candidate.before, start + 1) - 1)
    high = min(candidate.end, table.first_from(candidate.end, end + 1) - 1)
    return table.log_move(low, high) / table.log_move(candidate.before, candidate.end) if high > low else 0.0
