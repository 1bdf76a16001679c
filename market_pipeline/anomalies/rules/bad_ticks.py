"""Bad ticks: a print far off that the next quotes reverse. One row instead of two jumps.

A flagged move (jump or two-point) is a bad tick if

- it is at least `bad_tick_z` times as large as expected; a two-point move in a volatile hour is not;
- one of the next two changed quotes reverses it almost exactly, within 20 minutes or three usual intervals. A day later
  is no reversal, so daily quotes have no bad ticks;
- the other coins stood still: their median did not move with the print nor back, and none of them did both. A wick that
  coins share is real. With too few other coins it must be `bad_tick_alone_z` times as large as expected.

Wicks in the closes of an exchange pass the first two tests as often as misprints do; those that one coin has alone hold
part of the move. On five coins and 786 days of them no wick passes all three.

It replaces its jump, its way back and the large moves from or to the bad print. The two-point rule is the user's and
keeps the rows of both legs, as evidence: with the quality flag `bad_tick` and the bad tick's id as event_id, so that
they are not counted as alarms. Until the reversal is known the row is a jump.
"""

import math
from collections.abc import Iterator
from dataclasses import replace
from statistics import median

import numpy as np

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.peers import moves_between, present_volatility
from market_pipeline.anomalies.rules.score_table import MINUTE, ScoreTable
from market_pipeline.anomalies.scores.market import FEWEST_PEERS, MOVED
from market_pipeline.anomalies.series import DAILY, cadence_of

# A reversal comes within this time, or this many usual gaps if that is longer.
_QUICK = 20 * MINUTE
_QUICK_GAPS = 3


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
    at, before = candidate.at, candidate.before
    move = table.log_move(before, at)
    expected = math.log1p(table.number("expected_move", at))
    if candidate.p >= settings.watch_p or abs(move) < settings.bad_tick_z * expected:
        return None
    latest = table.moment(at) + _patience(table, at)
    least = settings.bad_tick_undone
    for position in _next_changed(table, at, settings.bad_tick_quotes):
        if table.moment(position) > latest:
            return None
        undone = table.log_move(position, at) / move
        if least <= undone <= 2 - least:
            shared = _is_shared(table, candidate, position)
            if shared or (shared is None and abs(move) < settings.bad_tick_alone_z * expected):
                return None
            return replace(candidate, kind=Kind.BAD_TICK, score=undone, threshold=least, until=position)
    return None


def _patience(table: ScoreTable, at: int) -> int:
    """Return how long after a print a quote still reverses it, microseconds; 0 on daily quotes."""
    usual = table.usual_gap(at) / 60
    if math.isnan(usual):
        return _QUICK
    return 0 if cadence_of(usual) == DAILY else max(_QUICK, int(_QUICK_GAPS * usual * MINUTE))


def _is_shared(table: ScoreTable, candidate: Candidate, until: int) -> bool | None:
    """Return whether other coins moved with a print or back; None with too few of them."""
    start, middle, end = (table.moment(position) for position in (candidate.before, candidate.at, until))
    rises = table.price(candidate.at) > table.price(candidate.before)
    there = moves_between(table, start, middle, present_volatility).standard * (1 if rises else -1)
    back = moves_between(table, middle, end, present_volatility).standard * (-1 if rises else 1)
    known = np.isfinite(there) & np.isfinite(back)
    known[table.code(candidate.at)] = False
    if known.sum() < FEWEST_PEERS:
        return None
    there, back = there[known], back[known]
    return bool(max(median(there), median(back), np.minimum(there, back).max()) >= MOVED)


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
    event = id_of(table, Kind.BAD_TICK, start)
    return replace(candidate, flags=(*candidate.flags, Kind.BAD_TICK.value), event_id=event)
