"""What the coins did between two times, each in its own standard deviations.

Live quotes of several coins come seconds to minutes apart. Each coin is therefore read at its quote
nearest to the two times, at most two minutes later; what is detected with a later quote says so in
`detected_at`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext
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


# Fewer other coins are not a market.
_FEWEST_PEERS = 2


def market_context(table: ScoreTable, candidate: Candidate) -> MarketContext:
    """The market beside a move.

    A move between two quotes is read from its scores unless another coin's quote came up to two minutes
    later and nearer in time; a large move is compared with the others' moves over its own time.
    """
    if candidate.kind is Kind.LARGE_MOVE:
        return _over_horizon(table, candidate)
    scored = _from_scores(table, candidate.at)
    before = int(table["before"][candidate.at])
    start, end = int(table.moments[before]), int(table.moments[candidate.at])
    moves = moves_between(table, start, end, present_volatility)
    others = _others(table, candidate, moves)
    if not (table.moments[moves.after[others]] > end).any():
        return scored
    beta = 1.0 if math.isnan(scored.beta) else scored.beta
    refreshed = _compared(table, table.number("z", candidate.at), beta, moves, others)
    return refreshed if refreshed.scope is not Scope.UNKNOWN else scored


def _from_scores(table: ScoreTable, at: int) -> MarketContext:
    peers = table.number("peers_moved", at)
    return MarketContext(
        scope=Scope(str(table.scores["scope"][at])),
        market_z=table.number("market_z", at),
        beta=table.number("beta", at),
        residual_z=table.number("residual_z", at),
        share=table.number("market_share", at),
        peers_moved=None if math.isnan(peers) else int(peers),
    )


def _over_horizon(table: ScoreTable, candidate: Candidate) -> MarketContext:
    start, end = int(table.moments[candidate.before]), int(table.moments[candidate.at])
    moves = moves_between(table, start, end, slow_volatility)
    rise = table.price(candidate.at) - table.price(candidate.before)
    own = math.copysign(table.number("large_move_score", candidate.at), rise)
    return _compared(table, own, 1.0, moves, _others(table, candidate, moves))


def _others(table: ScoreTable, candidate: Candidate, moves: Moves) -> NDArray[np.bool_]:
    """The other coins whose moves are known."""
    others: NDArray[np.bool_] = np.isfinite(moves.standard)
    others[table.code(candidate.at)] = False
    return others


def _compared(
    table: ScoreTable, own: float, beta: float, moves: Moves, others: NDArray[np.bool_]
) -> MarketContext:
    """A move of `own` standard deviations beside the median of the others'."""
    standard = moves.standard[others].tolist()
    if len(standard) < _FEWEST_PEERS or not own:
        return MarketContext(Scope.UNKNOWN)
    market = median(standard)
    ratio = market / own
    return MarketContext(
        _scope(ratio),
        market,
        beta,
        residual_z=own - beta * market,
        share=min(max(beta * ratio, 0.0), 1.0),
        peers_moved=sum(move * math.copysign(1, own) >= MOVED for move in standard),
        seen=int(table.moments[moves.after[others]].max()),
    )


def _scope(ratio: float) -> Scope:
    """The rule of the scores, for how far the market moved per standard deviation of the coin."""
    if ratio >= PARAMETERS.market_ratio:
        return Scope.MARKET
    return Scope.IDIOSYNCRATIC if ratio <= PARAMETERS.idiosyncratic_ratio else Scope.MIXED
