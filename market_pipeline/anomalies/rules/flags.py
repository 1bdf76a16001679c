"""Flag quotes as moves: the rules that look at one row of scores.

Strictly causal. An unchanged quote is never a move. During the warm-up of a symbol only the two-point rule applies.
A move below the materiality floor, or of one coarse price step, is not flagged, except by the two-point rule, which is
the user's own.

- user_threshold: abs(price / previous price - 1) >= 5%, of quotes at most six hours apart; independent of the other
  rules. Over a day 5% is an ordinary move of most coins.
- jump: the calibrated p of the jump score is below the watch level.
- gap_move: a quote after a gap whose jump or large move would be flagged; it replaces both.
- idiosyncratic: the residual's calibrated p is below the watch level, the market does not account for the move (a coin
  that merely goes further than the others does not count), and the quote is neither jump nor gap_move, whose rows
  carry the residual themselves.
- large_move: a move this large is expected at most once in a number of days, and in 30 usual intervals, so that daily
  quotes do not fill with it. It answers a different question from the jump's, so both may flag one quote.
  `coin_episodes` makes one row of the flagged quotes of an episode.
"""

import math

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import LEAST_P, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, score_of
from market_pipeline.anomalies.rules.score_table import MINUTE, Positions, ScoreTable
from market_pipeline.anomalies.rules.severity import Materiality
from market_pipeline.anomalies.scores.returns import GAP, WARM_UP

_SECONDS_PER_DAY = 86_400.0
_LARGE_INTERVALS = 30
# The scores.
_JUMP, _LARGE, _OWN = "jump", "large_move", "residual"


def flag_moves(
    table: ScoreTable, settings: DetectionSettings, materiality: Materiality, since: int
) -> list[Candidate]:
    """Return the flagged moves of all symbols from `since` (microseconds) on, by position and kind."""
    known = (table["before"] >= 0) & (table.moments >= since)
    changed = known & (table["stale_minutes"] == 0)
    jumps = changed & (table["jump_p"] < settings.watch_p)
    large = changed & (table["large_move_days"] >= settings.large_move_days)
    large[large] = [_is_rare(table, at) for at in np.flatnonzero(large).tolist()]
    own = changed & ~jumps & (table["residual_p"] < settings.watch_p)
    own[own] = table.scores["scope"][own] != Scope.MARKET.value
    candidates = [_user_threshold(table, at, settings) for at in _two_point(table, settings, since).tolist()]
    for at in np.flatnonzero(jumps | large | own).tolist():
        quality = table.quality(at)
        if WARM_UP in quality:
            continue
        found = []
        if GAP in quality:
            if jumps[at] or large[at]:
                found.append(_gap_move(table, at, bool(jumps[at]), settings))
        else:
            found += [_jump(table, at, Kind.JUMP, settings)] if jumps[at] else []
            found += [_large_move(table, at, Kind.LARGE_MOVE, settings)] if large[at] else []
            found += [_idiosyncratic(table, at, settings)] if own[at] else []
        candidates += [each for each in found if materiality.is_material(each.before, at)]
    return sorted(candidates, key=lambda each: (each.at, each.kind.value))


def _is_rare(table: ScoreTable, at: int) -> bool:
    """Return whether a large move is expected at most once in so many usual intervals; true if these are unknown."""
    return not table.number("large_move_days", at) * _SECONDS_PER_DAY < _LARGE_INTERVALS * table.usual_gap(at)


def _two_point(table: ScoreTable, settings: DetectionSettings, since: int) -> Positions:
    price = table["price"]
    with np.errstate(over="ignore"):
        moved = np.abs(price[1:] / price[:-1] - 1) >= settings.user_threshold
    moved &= np.diff(table.moments) <= settings.user_threshold_minutes * MINUTE
    # The first quote of a symbol follows the last one of another.
    moved[table.starts[1:-1] - 1] = False
    return np.flatnonzero(moved & (table.moments[1:] >= since)) + 1


def _user_threshold(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    move = abs(table.move(at - 1, at))
    if WARM_UP in table.quality(at):
        return Candidate(Kind.USER_THRESHOLD, at, at - 1, move, settings.user_threshold)
    p, p_raw = table.number("jump_p", at), _raw_p(table, "jump_score", at)
    days = _days(table, at, p)
    return Candidate(Kind.USER_THRESHOLD, at, at - 1, move, settings.user_threshold, p, p_raw, days, _JUMP)


def _jump(table: ScoreTable, at: int, kind: Kind, settings: DetectionSettings) -> Candidate:
    p, p_raw, before = table.number("jump_p", at), _raw_p(table, "jump_score", at), int(table["before"][at])
    return Candidate(kind, at, before, score_of(p), score_of(settings.watch_p), p, p_raw, _days(table, at, p), _JUMP)


def _large_move(table: ScoreTable, at: int, kind: Kind, settings: DetectionSettings) -> Candidate:
    p, days = table.number("large_move_p", at), table.number("large_move_days", at)
    before = int(table["large_move_before" if kind is Kind.LARGE_MOVE else "before"][at])
    score, threshold = math.log10(days), math.log10(settings.large_move_days)
    return Candidate(kind, at, before, score, threshold, p, days=days, tail=_LARGE)


def _gap_move(table: ScoreTable, at: int, is_jump: bool, settings: DetectionSettings) -> Candidate:
    """Use the jump's p where that is flagged, else the large move's."""
    return (_jump if is_jump else _large_move)(table, at, Kind.GAP_MOVE, settings)


def _idiosyncratic(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    p, p_raw, before = table.number("residual_p", at), _raw_p(table, "residual_score", at), int(table["before"][at])
    watch = score_of(settings.watch_p)
    return Candidate(Kind.IDIOSYNCRATIC, at, before, score_of(p), watch, p, p_raw, _days(table, at, p), _OWN)


def _raw_p(table: ScoreTable, score: str, at: int) -> float:
    """Return the probability of a score (-log10 p) before calibration."""
    return float(10.0 ** -table.number(score, at))


def _days(table: ScoreTable, at: int, p: float) -> float:
    """Return once in how many days a quote with this probability is expected; NaN if unknown.

    That is the usual spacing of quotes, or the gap that a move goes over where that is longer, divided by p.
    """
    seconds = max(table.usual_gap(at), table.number("elapsed_seconds", at))  # NaN where the first is.
    return seconds / _SECONDS_PER_DAY / max(p, LEAST_P)
