"""Bad ticks: a print far off that the next quotes take back. One thing, so one alarm.

A flagged move (jump or two-point) is a bad tick if one of the next two changed quotes undoes at least
70 % of it without going as far beyond. It must be surprising (a two-point move in a wild hour is not)
and its own (what the other coins did as well was no misprint). Its jump, its way back and the large
moves from or to the bad print are then no rows of their own. The two-point rule is the user's and keeps
its rows, both legs, but as evidence: with the quality flag `bad_tick` and the bad tick's id as event_id,
so that they are not counted as alarms again (a leg of the next day, which is another partition, only has
the flag). Until the way back is known the row is a jump.
"""

from collections.abc import Iterator
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.detection_settings import DetectionSettings
from market_pipeline.anomalies.rules.finding import Finding, id_of
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.score_table import ScoreTable, same_day

BAD_TICK = "bad_tick"

_PRINTS = (Kind.JUMP, Kind.USER_THRESHOLD)


def merge_bad_ticks(
    table: ScoreTable, findings: list[Finding], settings: DetectionSettings
) -> list[Finding]:
    """`findings` (by position) with bad ticks in place of what they explain."""
    prints: dict[int, Finding] = {}
    # For each position of a bad tick, from the print to the quote that undid it: where it was printed.
    print_of: dict[int, int] = {}
    for finding in findings:
        if finding.kind not in _PRINTS or finding.at in print_of:
            continue
        end = _undone_at(table, finding, settings) if _is_suspicious(table, finding, settings) else None
        if end is not None:
            prints[finding.at] = _bad_tick(table, finding, end, settings)
            print_of.update(dict.fromkeys(range(finding.at, end + 1), finding.at))
    if not prints:
        return findings
    kept = [
        _as_evidence(table, each, print_of) if each.kind is Kind.USER_THRESHOLD else each
        for each in findings
        if each.kind is Kind.USER_THRESHOLD or not _is_explained(each, prints, print_of)
    ]
    return sorted([*kept, *prints.values()], key=lambda each: (each.at, each.kind.value))


def _is_suspicious(table: ScoreTable, finding: Finding, settings: DetectionSettings) -> bool:
    is_the_markets = table.scores["scope"][finding.at] == Scope.MARKET.value
    return not is_the_markets and not finding.p >= settings.watch_p


def _undone_at(table: ScoreTable, finding: Finding, settings: DetectionSettings) -> int | None:
    """The changed quote that took the move back, among the next few."""
    move = log_move(table, finding.before, finding.at)
    for position in _next_changed(table, finding.at, settings.bad_tick_quotes):
        undone = log_move(table, position, finding.at) / move
        if settings.bad_tick_undone <= undone <= 2 - settings.bad_tick_undone:
            return position
    return None


def _next_changed(table: ScoreTable, at: int, count: int) -> Iterator[int]:
    position, end = at + 1, table.end_of(at)
    while count and position < end:
        if table.number("stale_minutes", position) == 0:
            yield position
            count -= 1
        position += 1


def _bad_tick(table: ScoreTable, finding: Finding, end: int, settings: DetectionSettings) -> Finding:
    undone = log_move(table, end, finding.at) / log_move(table, finding.before, finding.at)
    return replace(
        finding, kind=Kind.BAD_TICK, score=undone, threshold=settings.bad_tick_undone, until=end
    )


def _is_explained(finding: Finding, prints: dict[int, Finding], print_of: dict[int, int]) -> bool:
    """Whether a finding lies within a bad tick, is its way back, or starts from the bad print."""
    start = print_of.get(finding.before)
    if start is not None and finding.before != prints[start].until:
        return True
    start = print_of.get(finding.at)
    if start is None:
        return False
    return finding.at != prints[start].until or finding.kind is not Kind.LARGE_MOVE


def _as_evidence(table: ScoreTable, finding: Finding, print_of: dict[int, int]) -> Finding:
    start = print_of.get(finding.at)
    if start is None:
        return finding
    shared = same_day(int(table.moments[start]), int(table.moments[finding.at]))
    event = id_of(table, Kind.BAD_TICK, start) if shared else None
    return replace(finding, flags=(*finding.flags, BAD_TICK), event_id=event)
