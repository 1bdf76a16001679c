"""Bad ticks: a print far off that the next quotes reverse. One row instead of two jumps.

A flagged move (jump or two-point) is a bad tick if one of the next two changed quotes reverses at least 70% of it
without overshooting by as much. It must be surprising (a two-point move in a volatile hour is not) and specific to the
coin (a move that other coins share is no misprint). It replaces its jump, its way back and the large moves from or to
the bad print. The two-point rule is the user's and keeps the rows of both legs, as evidence: with the quality flag
`bad_tick` and the bad tick's id as event_id, so that they are not counted as alarms (a leg on the next day, which is
another partition, has the flag only). Until the reversal is known the row is a jump.
"""

from collections.abc import Iterator
from dataclasses import replace

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.score_table import ScoreTable, same_day


def merge_bad_ticks(table: ScoreTable, candidates: list[Candidate], settings: DetectionSettings) -> list[Candidate]:
    """Return `candidates` (by position) with bad ticks in place of what they explain."""
    prints: dict[int, Candidate] = {}
    # For each position of a bad tick, from the print to the reversing quote, the position of the print.
    print_of: dict[int, int] = {}
    for candidate in candidates:
        if candidate.kind not in (Kind.JUMP, Kind.USER_THRESHOLD) or candidate.at in print_of:
            continue
        if tick := _bad_tick(table, candidate, settings):
            prints[candidate.at] = tick
            print_of.update(dict.fromkeys(range(candidate.at, (tick.until or 0) + 1), candidate.at))
    if not prints:
        return candidates
    others = [
        _as_evidence(table, each, print_of) if each.kind is Kind.USER_THRESHOLD else each
        for each in candidates
        if each.kind is Kind.USER_THRESHOLD or not _is_explained(each, prints, print_of)
    ]
    return sorted([*others, *prints.values()], key=lambda each: (each.at, each.kind.value))


def _bad_tick(table: ScoreTable, candidate: Candidate, settings: DetectionSettings) -> Candidate | None:
    """Return the bad tick that a move is, None if it is none or that is not known yet."""
    if table.scores["scope"][candidate.at] == Scope.MARKET.value or candidate.p >= settings.watch_p:
        return None
    least = settings.bad_tick_undone
    move = table.log_move(candidate.before, candidate.at)
    for position in _next_changed(table, candidate.at, settings.bad_tick_quotes):
        undone = table.log_move(position, candidate.at) / move
        if least <= undone <= 2 - least:
            return replace(candidate, kind=Kind.BAD_TICK, score=undone, threshold=least, until=position)
    return None


def _next_changed(table: ScoreTable, at: int, count: int) -> Iterator[int]:
    position, end = at + 1, table.end_of(at)
    while count and position < end:
        if table.number("stale_minutes", position) == 0:
            yield position
            count -= 1
        position += 1


def _is_explained(candidate: Candidate, prints: dict[int, Candidate], print_of: dict[int, int]) -> bool:
    """Return whether a candidate lies within a bad tick, is its way back, or starts from the bad print."""
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
    shared = same_day(table.moment(start), table.moment(candidate.at))
    event = id_of(table, Kind.BAD_TICK, start) if shared else None
    return replace(candidate, flags=(*candidate.flags, Kind.BAD_TICK.value), event_id=event)
