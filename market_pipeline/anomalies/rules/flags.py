"""Flag quotes as moves: the rules that look at one row of scores.

Strictly causal. An unchanged quote is never a move. During the warm-up of a symbol only the two-point rule applies.

- user_threshold: abs(price / previous price - 1) >= 5%, of quotes at most six hours apart; independent of the other
  rules. Over a day 5% is an ordinary move of most coins.
- jump: the calibrated p of the jump score is below the watch level.
- gap_move: a quote after a gap whose jump or large move would be flagged; it replaces both, and the large moves of
  later quotes that are mostly the move over the gap.
- idiosyncratic: the residual's calibrated p is below the watch level, the market does not account for the move (a coin
  that merely goes further than the others does not count), and the quote is neither jump nor gap_move, whose rows
  carry the residual themselves.
- large_move: the calibrated p of the large-move score is below its own level. It answers a different question from the
  jump's, so both may flag one quote. `episodes.only_growing` drops those that repeat an earlier one.
"""

import numpy as np

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, score_of
from market_pipeline.anomalies.rules.score_table import MINUTE, Positions, ScoreTable
from market_pipeline.anomalies.scores.returns import GAP, WARM_UP
from market_pipeline.anomalies.series import Floats


def flag_moves(table: ScoreTable, settings: DetectionSettings) -> list[Candidate]:
    """Return the flagged moves of all symbols, by position and kind."""
    changed = (table["before"] >= 0) & (table["stale_minutes"] == 0)
    jumps = changed & (table["jump_p"] < settings.watch_p)
    large = changed & (table["large_move_p"] < large_move_levels(table, settings))
    own = changed & ~jumps & (table["residual_p"] < settings.watch_p)
    own[own] = table.scores["scope"][own] != Scope.MARKET.value
    candidates = [_user_threshold(table, at, settings) for at in _two_point(table, settings).tolist()]
    over_gaps: list[Candidate] = []
    for at in np.flatnonzero(jumps | large | own).tolist():
        quality = table.quality(at)
        if WARM_UP in quality:
            continue
        if GAP in quality:
            if jumps[at] or large[at]:
                over_gaps.append(_gap_move(table, at, bool(jumps[at]), settings))
            continue
        if jumps[at]:
            candidates.append(_jump(table, at, Kind.JUMP, settings))
        if large[at]:
            candidates.append(_large_move(table, at, Kind.LARGE_MOVE, settings))
        if own[at]:
            candidates.append(_idiosyncratic(table, at, settings))
    candidates = [each for each in candidates if not _is_old_gap(table, each, over_gaps)]
    return sorted(candidates + over_gaps, key=lambda each: (each.at, each.kind.value))


def large_move_levels(table: ScoreTable, settings: DetectionSettings) -> Floats:
    """Return below which p each quote's large move is flagged: at rarer quotes a higher one."""
    if "levels" not in table.cache:
        apart = table["elapsed_seconds"] > 60 * PARAMETERS.long_interval
        table.cache["levels"] = np.where(apart, settings.large_move_hourly_p, settings.large_move_p)
    levels: Floats = table.cache["levels"]
    return levels


def _two_point(table: ScoreTable, settings: DetectionSettings) -> Positions:
    price = table["price"]
    with np.errstate(over="ignore"):
        moved = np.abs(price[1:] / price[:-1] - 1) >= settings.user_threshold
    moved &= np.diff(table.moments) <= settings.user_threshold_minutes * MINUTE
    # The first quote of a symbol follows the last one of another.
    moved[table.starts[1:-1] - 1] = False
    return np.flatnonzero(moved) + 1


def _user_threshold(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    move = abs(table.move(at - 1, at))
    if WARM_UP in table.quality(at):
        return Candidate(Kind.USER_THRESHOLD, at, at - 1, move, settings.user_threshold)
    p, p_raw = table.number("jump_p", at), _raw_p(table, "jump_score", at)
    return Candidate(Kind.USER_THRESHOLD, at, at - 1, move, settings.user_threshold, p, p_raw)


def _jump(table: ScoreTable, at: int, kind: Kind, settings: DetectionSettings) -> Candidate:
    p, p_raw = table.number("jump_p", at), _raw_p(table, "jump_score", at)
    return Candidate(kind, at, int(table["before"][at]), score_of(p), score_of(settings.watch_p), p, p_raw)


def _large_move(table: ScoreTable, at: int, kind: Kind, settings: DetectionSettings) -> Candidate:
    p, level = table.number("large_move_p", at), float(large_move_levels(table, settings)[at])
    before = int(table["large_move_before" if kind is Kind.LARGE_MOVE else "before"][at])
    return Candidate(kind, at, before, score_of(p), score_of(level), p)


def _gap_move(table: ScoreTable, at: int, is_jump: bool, settings: DetectionSettings) -> Candidate:
    """Use the jump's p where that is flagged, else the large move's."""
    return (_jump if is_jump else _large_move)(table, at, Kind.GAP_MOVE, settings)


def _idiosyncratic(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    p, p_raw = table.number("residual_p", at), _raw_p(table, "residual_score", at)
    before = int(table["before"][at])
    return Candidate(Kind.IDIOSYNCRATIC, at, before, score_of(p), score_of(settings.watch_p), p, p_raw)


def _raw_p(table: ScoreTable, score: str, at: int) -> float:
    """Return the probability of a score (-log10 p) before calibration."""
    return float(10.0 ** -table.number(score, at))


def _is_old_gap(table: ScoreTable, candidate: Candidate, over_gaps: list[Candidate]) -> bool:
    """Return whether at least half of a large move is a move over a gap that is flagged already."""
    if candidate.kind is not Kind.LARGE_MOVE:
        return False
    whole = table.log_move(candidate.before, candidate.at)
    return any(
        candidate.before <= gap.before and gap.at < candidate.at and table.log_move(gap.before, gap.at) / whole >= 0.5
        for gap in over_gaps
    )
