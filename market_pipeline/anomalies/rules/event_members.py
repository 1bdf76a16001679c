"""The members of market events: which rows of the coins are evidence of one rather than alarms of their own.

A row is linked if its quote lies in an event's time (or in the hour after it, or in the move with which
it began), its coin is one of those that moved, and the market accounts for it. What a coin does alone
stands on its own, market event or not.
"""

from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.detection_settings import DetectionSettings
from market_pipeline.anomalies.rules.finding import Finding, id_of
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.market_events import MINUTE, MarketEvent
from market_pipeline.anomalies.rules.score_table import ScoreTable, same_day

_LINKED = (Kind.USER_THRESHOLD, Kind.JUMP, Kind.LARGE_MOVE, Kind.GAP_MOVE)


def link_members(
    table: ScoreTable, findings: list[Finding], events: list[MarketEvent], settings: DetectionSettings
) -> list[Finding]:
    """`findings` with the event of each that is part of one; what a coin does alone stands on its own."""
    linked = []
    for finding in findings:
        event = _event_of(table, finding, events, settings)
        if event is not None and finding.market is not None:
            market = replace(finding.market, scope=_scope(table, finding, settings))
            event_id = id_of(table, Kind.MARKET_MOVE, event.finding.at)
            finding = replace(finding, market=market, event_id=event_id)
        linked.append(finding)
    return linked


def _event_of(
    table: ScoreTable, finding: Finding, events: list[MarketEvent], settings: DetectionSettings
) -> MarketEvent | None:
    if finding.kind not in _LINKED or finding.event_id is not None:
        return None
    moment = int(table.moments[finding.at])
    width = int(settings.episode_minutes * MINUTE)
    for event in events:
        inside = event.first - event.lead <= moment <= event.last + width
        if inside and same_day(moment, event.first) and _is_part(table, finding, event, settings):
            return event
    return None


def _is_part(
    table: ScoreTable, finding: Finding, event: MarketEvent, settings: DetectionSettings
) -> bool:
    """Whether the market accounts for the move, or for part of it.

    Where that part is small and the move goes against the event, what is left must not be flagged.
    """
    scope = finding.market.scope if finding.market else Scope.UNKNOWN
    if scope is Scope.IDIOSYNCRATIC or table.symbol(finding.at) not in event.moves:
        return False
    with_event = log_move(table, finding.before, finding.at) * event.direction > 0
    return scope is Scope.MARKET or with_event or table.number("residual_p", finding.at) >= settings.watch_p


def _scope(table: ScoreTable, finding: Finding, settings: DetectionSettings) -> Scope:
    """A member's move is the market's, unless it went further by more than chance."""
    if finding.kind is Kind.LARGE_MOVE and finding.market and finding.market.scope is not Scope.UNKNOWN:
        return finding.market.scope
    further = table.number("residual_z", finding.at) * table.number("z", finding.at) > 0
    flagged = table.number("residual_p", finding.at) < settings.watch_p
    return Scope.MIXED if further and flagged else Scope.MARKET
