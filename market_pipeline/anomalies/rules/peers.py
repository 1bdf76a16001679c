"""What the other coins did between two times, and how the market moved with a flagged quote.

Live quotes of several coins are seconds to minutes apart. Each coin is therefore read at its quote nearest to the two
times, at most two minutes later: the scores are causal to the second, so the first coin of a collection would look like
the only mover in every move of the market. A row detected with a later quote says so in `detected_at`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.rules.candidate import Candidate, MarketContext
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, MINUTE, Positions, ScoreTable, simple_return
from market_pipeline.anomalies.scores.market import FEWEST_PEERS, MOVED
from market_pipeline.anomalies.series import Floats

Volatility = Callable[[ScoreTable, Positions], Floats]

# One collection requests all coins at once; their quotes' times differ by up to about this much.
LATER = 2 * MINUTE


@dataclass(frozen=True, eq=False)
class Moves:
    """The moves of all symbols of a table between two times; NaN where a coin has no quotes there.

    `log_move` is the log return, `standard` the same in standard deviations (NaN also where those are unknown),
    `before` and `after` the positions of the quotes used.
    """

    log_move: Floats
    standard: Floats
    before: Positions
    after: Positions

    def known(self) -> list[float]:
        """Return the standardised moves that are known."""
        moves: list[float] = self.standard[np.isfinite(self.standard)].tolist()
        return moves


def slow_volatility(table: ScoreTable, positions: Positions) -> Floats:
    """Return the volatility of the last weeks: log return per square root of a second."""
    volatility: Floats = table["slow_volatility"][positions] / math.sqrt(60.0)
    return volatility


def present_volatility(table: ScoreTable, positions: Positions) -> Floats:
    """Return the expectation before each quote: log return per square root of a second."""
    volatility: Floats = np.log1p(table["expected_move"][positions]) / np.sqrt(table["elapsed_seconds"][positions])
    return volatility


def moves_between(table: ScoreTable, start: int, end: int, volatility: Volatility) -> Moves:
    """Return the moves from `start` to `end` (microseconds since 1970), standardised by `volatility`.

    Cached: coins quoted at the same times need the same moves.
    """
    key = (start, end, volatility)
    if key not in table.cache:
        table.cache[key] = _moves_between(table, start, end, volatility)
    moves: Moves = table.cache[key]
    return moves


def _moves_between(table: ScoreTable, start: int, end: int, volatility: Volatility) -> Moves:
    before, after = _nearest(table, start), _nearest(table, end)
    # A quote older than half of the interval does not show the price at its ends.
    oldest = max((end - start) // 2, LATER)
    known = (before >= 0) & (after > before)
    known &= (start - table.moments[before] <= oldest) & (end - table.moments[after] <= oldest)
    known &= table.is_live(after, end)
    log_move = np.where(known, _log_moves(table, before, after), np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        standard = log_move / (volatility(table, after) * np.sqrt(_seconds(table, before, after)))
    return Moves(log_move, np.where(np.isfinite(standard), standard, np.nan), before, after)


def _nearest(table: ScoreTable, moment: int) -> Positions:
    """Return for each symbol the quote nearest to `moment`, at most `LATER` after it; -1 where there is none."""
    last = table.latest(moment)
    following = np.where(last >= 0, last + 1, table.starts[:-1])
    exists = following < table.starts[1:]
    following = np.where(exists, following, 0)
    wait = table.moments[following] - moment
    nearer = exists & (wait <= LATER) & ((last < 0) | (wait < moment - table.moments[last]))
    nearest: Positions = np.where(nearer, following, last)
    return nearest


def _seconds(table: ScoreTable, before: Positions, after: Positions) -> Floats:
    """Return the time of moves, at least the shortest interval of the scores."""
    seconds = (table.moments[after] - table.moments[before]) / MICROSECONDS
    return np.maximum(seconds, 60 * PARAMETERS.shortest_interval)


def _log_moves(table: ScoreTable, before: Positions, after: Positions) -> Floats:
    moves: Floats = np.log(table["price"][after]) - np.log(table["price"][before])
    return moves


def market_context(table: ScoreTable, candidate: Candidate) -> MarketContext:
    """Return how the market moved with a candidate.

    For a move between two quotes that is in its scores, unless a quote of another coin came up to two minutes later
    and nearer in time; a large move, or one that went on, is compared with the others' moves over its own time.
    """
    at, end = candidate.at, candidate.end
    if candidate.kind is Kind.LARGE_MOVE or end != at:
        moves = moves_between(table, table.moment(candidate.before), table.moment(end), slow_volatility)
        own = table.log_move(candidate.before, end) / float(
            slow_volatility(table, np.array([end]))[0] * math.sqrt(max(table.seconds(candidate.before, end), 60.0))
        )
        return _compared(table, own if math.isfinite(own) else 0.0, 1.0, moves, _others(table, at, moves))
    scored = _from_scores(table, at)
    moment = table.moment(at)
    moves = moves_between(table, table.moment(int(table["before"][at])), moment, present_volatility)
    others = _others(table, at, moves)
    if (table.moments[moves.after[others]] > moment).any():
        beta = 1.0 if math.isnan(scored.beta) else scored.beta
        refreshed = _compared(table, table.number("z", at), beta, moves, others)
        if refreshed.scope is not Scope.UNKNOWN:
            return refreshed
    return replace(scored, market_move=_median_return(moves, others), coins=1 + int(np.count_nonzero(others)))


def _median_return(moves: Moves, others: NDArray[np.bool_]) -> float:
    """Return the median simple return of some coins; NaN without any."""
    known = moves.log_move[others].tolist()
    return simple_return(median(known)) if known else math.nan


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


def _others(table: ScoreTable, at: int, moves: Moves) -> NDArray[np.bool_]:
    """Return which other coins' moves are known."""
    others: NDArray[np.bool_] = np.isfinite(moves.standard)
    others[table.code(at)] = False
    return others


def _compared(table: ScoreTable, own: float, beta: float, moves: Moves, others: NDArray[np.bool_]) -> MarketContext:
    """Compare a move of `own` standard deviations with the median of the others'."""
    standard = moves.standard[others].tolist()
    median_return, coins = _median_return(moves, others), 1 + len(standard)
    if len(standard) < FEWEST_PEERS or not own:
        return MarketContext(Scope.UNKNOWN, market_move=median_return, coins=coins)
    market = median(standard)
    ratio = market / own
    return MarketContext(
        scope_of(ratio),
        market,
        beta,
        residual_z=own - beta * market,
        share=min(max(ratio, 0.0), 1.0),
        peers_moved=sum(move * math.copysign(1, own) >= MOVED for move in standard),
        seen=int(table.moments[moves.after[others]].max()),
        market_move=median_return,
        coins=coins,
    )


def scope_of(ratio: float) -> Scope:
    """Return the scope by how far the market moved per standard deviation of the coin, as in the scores."""
    if ratio >= PARAMETERS.market_share:
        return Scope.MARKET
    return Scope.IDIOSYNCRATIC if ratio <= PARAMETERS.idiosyncratic_share else Scope.MIXED
