"""What the coins did between two times, each in its own standard deviations.

Live quotes of several coins come seconds to minutes apart. Each coin is therefore read at its quote
nearest to the two times, at most two minutes later; what is detected with a later quote says so in
`detected_at`.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, Positions, ScoreTable

Volatility = Callable[[ScoreTable, Positions], NDArray[np.float64]]

# One collection asks for all coins at once; the times of their quotes differ by up to about this much.
LATER = 120 * MICROSECONDS

# From how many of its standard deviations on a coin counts as having moved.
MOVED = 2.0


@dataclass(frozen=True, eq=False)
class Moves:
    """The moves of all symbols of a table between two times; NaN where a coin has no quotes there.

    `log_move` is the log return, `standard` the same in standard deviations (NaN also where those are
    not known), `before` and `after` the positions of the quotes used.
    """

    log_move: NDArray[np.float64]
    standard: NDArray[np.float64]
    before: Positions
    after: Positions


def slow_volatility(table: ScoreTable, positions: Positions) -> NDArray[np.float64]:
    """What the large-move score of each quote divides by: log return per square root of a second."""
    before = table.scores["large_move_before"][positions]
    seconds = _seconds(table, before, positions)
    volatility = np.abs(_log_moves(table, before, positions)) / np.sqrt(seconds)
    return np.where(before >= 0, volatility / table["large_move_score"][positions], np.nan)


def present_volatility(table: ScoreTable, positions: Positions) -> NDArray[np.float64]:
    """What was expected before each quote: log return per square root of a second."""
    expected: NDArray[np.float64] = np.log1p(table["expected_move"][positions])
    return expected / np.sqrt(table["elapsed_seconds"][positions])


def moves_between(table: ScoreTable, start: int, end: int, volatility: Volatility) -> Moves:
    """The moves from `start` to `end` (microseconds since 1970), standardised by `volatility`.

    Coins that are quoted at the same times ask for the same moves, so these are kept with the table.
    """
    key = (start, end, volatility)
    if key not in table.known:
        table.known[key] = _moves_between(table, start, end, volatility)
    moves: Moves = table.known[key]
    return moves


def _moves_between(table: ScoreTable, start: int, end: int, volatility: Volatility) -> Moves:
    before, after = _nearest(table, start), _nearest(table, end)
    # A quote that is older than half of the interval does not tell the price at its ends.
    oldest = max((end - start) // 2, LATER)
    known = (before >= 0) & (after > before)
    known &= (start - table.moments[before] <= oldest) & (end - table.moments[after] <= oldest)
    log_move = np.where(known, _log_moves(table, before, after), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = log_move / (volatility(table, after) * np.sqrt(_seconds(table, before, after)))
    return Moves(log_move, np.where(np.isfinite(standard), standard, np.nan), before, after)


def _nearest(table: ScoreTable, moment: int) -> Positions:
    """For each symbol the quote nearest to `moment`, if that is later then by `LATER` at most; else -1."""
    last = table.latest(moment)
    following = np.where(last >= 0, last + 1, table.starts[:-1])
    exists = following < table.starts[1:]
    following = np.where(exists, following, 0)
    wait = table.moments[following] - moment
    nearer = exists & (wait <= LATER) & ((last < 0) | (wait < moment - table.moments[last]))
    nearest: Positions = np.where(nearer, following, last)
    return nearest


def _seconds(table: ScoreTable, before: Positions, after: Positions) -> NDArray[np.float64]:
    """The time of moves, no shorter than the scores take it for."""
    seconds = (table.moments[after] - table.moments[before]) / MICROSECONDS
    return np.maximum(seconds, 60 * PARAMETERS.shortest_interval)


def _log_moves(table: ScoreTable, before: Positions, after: Positions) -> NDArray[np.float64]:
    moves: NDArray[np.float64] = np.log(table["price"][after]) - np.log(table["price"][before])
    return moves
