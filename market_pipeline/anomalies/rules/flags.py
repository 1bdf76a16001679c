"""Which quotes are flagged as moves, and as what: the rules that look at one row of scores.

Strictly causal. An unchanged quote brings nothing new and is never a move. In the warm-up of a symbol
only the two-point rule speaks.

- user_threshold: abs(price / price of the quote before - 1) >= 5 %, whatever else is flagged.
- jump: the calibrated p of the jump score is below the watch level.
- gap_move: a quote after a gap whose jump or large move would be flagged; it stands for both, and for
  the large moves of later quotes that are mostly the move over the gap.
- idiosyncratic: the residual's calibrated p is below the watch level, the market does not account for
  the move (a coin that merely goes further than the others is not alone), and the quote is no jump and
  no gap_move: those rows carry the residual themselves.
- large_move: the calibrated p of the large-move score is below its own level. It asks another question
  than the jump, so that both may flag one quote. Which of them are told: see `growth`.
"""

import math

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, score_of
from market_pipeline.anomalies.rules.score_table import Positions, ScoreTable

WARM_UP = "warm_up"
GAP = "gap"


def flag_moves(table: ScoreTable, settings: DetectionSettings) -> list[Candidate]:
    """The flagged moves of all symbols, by position and kind."""
    changed = (table["before"] >= 0) & (table["stale_minutes"] == 0)
    jumps = changed & (table["jump_p"] < settings.watch_p)
    large = changed & (table["large_move_p"] < large_move_levels(table, settings))
    own = changed & ~jumps & (table["residual_p"] < settings.watch_p)
    own[own] = table.scores["scope"][own] != Scope.MARKET.value
    found = [_user_threshold(table, at, settings) for at in _two_point(table, settings).tolist()]
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
            found.append(_jump(table, at, settings))
        if large[at]:
            found.append(_large_move(table, at, settings))
        if own[at]:
            found.append(_idiosyncratic(table, at, settings))
    found = [each for each in found if not _is_old_gap(table, each, over_gaps)]
    return sorted(found + over_gaps, key=lambda candidate: (candidate.at, candidate.kind.value))


def large_move_levels(table: ScoreTable, settings: DetectionSettings) -> NDArray[np.float64]:
    """Below which p a large move is flagged, for each quote: rarer quotes are allowed more often."""
    if "levels" not in table.known:
        apart = table["elapsed_seconds"] > 60 * PARAMETERS.long_interval
        table.known["levels"] = np.where(apart, settings.large_move_hourly_p, settings.large_move_p)
    levels: NDArray[np.float64] = table.known["levels"]
    return levels


def _two_point(table: ScoreTable, settings: DetectionSettings) -> Positions:
    price = table["price"]
    with np.errstate(over="ignore"):
        moved = np.abs(price[1:] / price[:-1] - 1) >= settings.user_threshold
    # The first quote of a symbol follows the last one of another.
    moved[table.starts[1:-1] - 1] = False
    return np.flatnonzero(moved) + 1


def _user_threshold(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    move = move_between(table, at - 1, at)
    warm = WARM_UP in table.quality(at)
    p = math.nan if warm else table.number("jump_p", at)
    p_raw = math.nan if warm else raw_p(table, at)
    return Candidate(Kind.USER_THRESHOLD, at, at - 1, abs(move), settings.user_threshold, p, p_raw)


def _jump(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    p = table.number("jump_p", at)
    before = int(table["before"][at])
    return Candidate(Kind.JUMP, at, before, score_of(p), score_of(settings.watch_p), p, raw_p(table, at))


def _large_move(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    p = table.number("large_move_p", at)
    before = int(table["large_move_before"][at])
    level = float(large_move_levels(table, settings)[at])
    return Candidate(Kind.LARGE_MOVE, at, before, score_of(p), score_of(level), p)


def _idiosyncratic(table: ScoreTable, at: int, settings: DetectionSettings) -> Candidate:
    p, raw = table.number("residual_p", at), 10.0 ** -table.number("residual_score", at)
    before = int(table["before"][at])
    return Candidate(Kind.IDIOSYNCRATIC, at, before, score_of(p), score_of(settings.watch_p), p, raw)


def _gap_move(table: ScoreTable, at: int, is_jump: bool, settings: DetectionSettings) -> Candidate:
    """By the jump's p where that is flagged, else by the large move's."""
    p = table.number("jump_p" if is_jump else "large_move_p", at)
    level = settings.watch_p if is_jump else float(large_move_levels(table, settings)[at])
    raw = raw_p(table, at) if is_jump else math.nan
    return Candidate(Kind.GAP_MOVE, at, int(table["before"][at]), score_of(p), score_of(level), p, raw)


def _is_old_gap(table: ScoreTable, candidate: Candidate, over_gaps: list[Candidate]) -> bool:
    """Whether at least half of a large move is a move over a gap that is flagged already."""
    if candidate.kind is not Kind.LARGE_MOVE:
        return False
    whole = log_move(table, candidate.before, candidate.at)
    return any(
        candidate.before <= gap.before and gap.at < candidate.at
        and log_move(table, gap.before, gap.at) / whole >= 0.5
        for gap in over_gaps
    )


def raw_p(table: ScoreTable, at: int) -> float:
    """The filter's own two-sided probability of the return, before calibration."""
    return float(10.0 ** -table.number("jump_score", at))


def log_move(table: ScoreTable, before: int, after: int) -> float:
    return math.log(table.price(after)) - math.log(table.price(before))


def simple_return(log_return: float) -> float:
    """exp(log_return) - 1, finite."""
    return math.expm1(min(log_return, 700.0))


def move_between(table: ScoreTable, before: int, after: int) -> float:
    """The simple return between two quotes; always finite, as the database refuses infinity."""
    quotient = table.price(after) / table.price(before)
    return min(quotient - 1, 1e300)
