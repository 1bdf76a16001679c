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
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.flags import log_move
from market_pipeline.anomalies.rules.score_table import ScoreTable, same_day

BAD_TICK = "bad_tick"

_PRINTS = (Kind.JUMP, Kind.USER_THRESHOLD)


def merge_bad_ticks(
    table: ScoreTable, candidates: list[Candidate], settings: DetectionSettings
) -> list[Candidate]:
    """`candidates` (by position) with bad ticks in place of what they explain."""
    prints: dict[int, Candidate] = {}
    # For each position of a bad tick, from the print to the quote that undid it: where it was printed.
    print_of: dict[int, int] = {}
    for candidate in candidates:
        if candidate.kind not in _PRINTS or candidate.at in print_of:
            continue
        end = _undone_at(table, candidate, settings) if _is_suspicious(table, candidate, settings) else None
        if end is not None:
            prints[candidate.at] = _bad_tick(table, candidate, end, settings)
            print_of.update(dict.fromkeys(range(candidate.at, end + 1), candidate.at))
    if not prints:
        return candidates
    kept = [
        _as_evidence(table, each, print_of) if each.kind is Kind.USER_THRESHOLD else each
        for each in candidates
        if each.kind is Kind.USER_THRESHOLD or not _is_explained(each, prints, print_of)
    ]
    return sorted([*kept, *prints.values()], key=lambda each: (each.at, each.kind.value))


def _is_suspicious(table: ScoreTable, candidate: Candidate, settings: DetectionSettings) -> bool:
    is_the_markets = table.scores["scope"][candidate.at] == Scope.MARKET.value
    return not is_the_markets and not candidate.p >= settings.watch_p


def _undone_at(table: ScoreTable, candidate: Candidate, settings: DetectionSettings) -> int | None:
    """The changed quote that took the move back, among the next few."""
    move = log_move(table, candidate.before, candidate.at)
    for position in _next_changed(table, candidate.at, settings.bad_tick_quotes):
        undone = log_move(table, position, candidate.at) / move
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


def _bad_tick(table: ScoreTable, candidate: Candidate, end: int, settings: DetectionSettings) -> Candidate:
    undone = log_move(table, end, candidate.at) / log_move(table, candidate.before, candidate.at)
    return replace(
        candidate, kind=Kind.BAD_TICK, score=undone, threshold=settings.bad_tick_undone, until=end
    )


def _is_explained(candidate: Candidate, prints: dict[int, Candidate], print_of: dict[int, int]) -> bool:
    """Whether a candidate lies within a bad tick, is its way back, or starts from the bad print."""
    start = print_of.get(candidate.before)
    if start is not None and candidate.before != prints[start].until:
        return True
    start = print_of.get(candidate.at)
    if start is None:
        return False
    return candidate.at != prints[start].until or candidate.kind is not Kind.LARGE_MOVE


def _as_evidence(table: ScoreTable, candidate: Candidate, print_of: dict[int, int]) -> Candidate:
    start = print_of.get(candidate.at)
    if start is None:
        return candidate
    shared = same_day(int(table.moments[start]), int(table.moments[candidate.at]))
    event = id_of(table, Kind.BAD_TICK, start) if shared else None
    return replace(candidate, flags=(*candidate.flags, BAD_TICK), event_id=event)
