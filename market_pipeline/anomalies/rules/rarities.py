"""How rare a candidate is and what that rests on: the numbers of the row's columns and of its sentences.

A large move and a market event are also compared with the highest scores of days: those that the calibration remembers,
and those since it was made, as far as they are in the table.
"""

from __future__ import annotations

import math
from datetime import date

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.calibration import ALL_COINS, Calibration, tail_of
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.score_table import ScoreTable
from market_pipeline.anomalies.series import cadence_of
from market_pipeline.anomalies.words.rarity import Rarity
from market_pipeline.core.clock import from_microseconds

# The score whose tail gives the return period of a kind where its candidate does not say; the others have none.
_SCORES = {
    Kind.JUMP: "jump",
    Kind.GAP_MOVE: "jump",
    Kind.USER_THRESHOLD: "jump",
    Kind.IDIOSYNCRATIC: "residual",
    Kind.LARGE_MOVE: "large_move",
    Kind.MARKET_MOVE: "market",
}


def rarity_of(table: ScoreTable, calibration: Calibration | None, candidate: Candidate) -> Rarity:
    """Return the rarity of `candidate`."""
    score = candidate.tail or _SCORES.get(candidate.kind)
    if score is None or candidate.kind is Kind.BAD_TICK:
        return Rarity(math.nan, str(table.scores["calibration"][candidate.at]))
    cadence = cadence_of(table.number("elapsed_seconds", candidate.rated) / 60)
    tail = tail_of(calibration, table.symbol(candidate.at), score, cadence)
    memory_days, last_day = _memory(table, calibration, candidate)
    day = table.time(candidate.at).date()
    return Rarity(candidate.days, tail.basis, tail.days, tail.excesses, cadence, memory_days, last_day, day)


def _memory(table: ScoreTable, calibration: Calibration | None, candidate: Candidate) -> tuple[float, date | None]:
    """Return for how many days the highest scores are remembered, and the last of them with one as high."""
    market = candidate.kind is Kind.MARKET_MOVE
    largest = calibration.largest.get(ALL_COINS if market else table.symbol(candidate.at)) if calibration else None
    if largest is None or not (market or candidate.kind is Kind.LARGE_MOVE):
        return 0.0, None
    start, first = table.moment(candidate.before), table.moment(candidate.at)
    # Where the others are quoted later than the leader, the market has moved only then.
    end = max(table.moment(candidate.end), table.moment(candidate.rated))
    code = table.code(candidate.at)
    rows = slice(None) if market else slice(int(table.starts[code]), int(table.starts[code + 1]))
    scores, moments = table["market_score" if market else "large_move_score"][rows], table.moments[rows]
    score = float(scores[(moments >= first) & (moments <= end)].max())
    before = moments[(moments <= start) & (scores >= score)]
    days = [largest.last_at_least(score), from_microseconds(int(before.max())).date() if len(before) else None]
    memory = (from_microseconds(first).date() - largest.since).days
    return float(memory), max((day for day in days if day is not None), default=None)
