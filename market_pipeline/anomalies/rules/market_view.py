"""How the market moved with a flagged quote: from its scores, or from quotes that came just after.

The scores are causal to the second. Of the coins of one collection the first to be quoted would look
alone in every move of the market, so the quotes of the next two minutes may speak as well.
"""

import math
from statistics import median

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind, Scope
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.rules.finding import Finding, MarketView
from market_pipeline.anomalies.rules.peers import (
    MOVED, Moves, moves_between, present_volatility, slow_volatility,
)
from market_pipeline.anomalies.rules.score_table import ScoreTable

# Fewer other coins are not a market.
_FEWEST_PEERS = 2


def view(table: ScoreTable, finding: Finding) -> MarketView:
    """The market beside a move.

    A move between two quotes is read from its scores unless another coin's quote came up to two minutes
    later and nearer in time; a large move is compared with the others' moves over its own time.
    """
    if finding.kind is Kind.LARGE_MOVE:
        return _over_horizon(table, finding)
    scored = _from_scores(table, finding.at)
    before = int(table["before"][finding.at])
    start, end = int(table.moments[before]), int(table.moments[finding.at])
    moves = moves_between(table, start, end, present_volatility)
    others = _others(table, finding, moves)
    if not (table.moments[moves.after[others]] > end).any():
        return scored
    beta = 1.0 if math.isnan(scored.beta) else scored.beta
    refreshed = _compared(table, table.number("z", finding.at), beta, moves, others)
    return refreshed if refreshed.scope is not Scope.UNKNOWN else scored


def _from_scores(table: ScoreTable, at: int) -> MarketView:
    peers = table.number("peers_moved", at)
    return MarketView(
        scope=Scope(str(table.scores["scope"][at])),
        market_z=table.number("market_z", at),
        beta=table.number("beta", at),
        residual_z=table.number("residual_z", at),
        share=table.number("market_share", at),
        peers_moved=None if math.isnan(peers) else int(peers),
    )


def _over_horizon(table: ScoreTable, finding: Finding) -> MarketView:
    start, end = int(table.moments[finding.before]), int(table.moments[finding.at])
    moves = moves_between(table, start, end, slow_volatility)
    rise = table.price(finding.at) - table.price(finding.before)
    own = math.copysign(table.number("large_move_score", finding.at), rise)
    return _compared(table, own, 1.0, moves, _others(table, finding, moves))


def _others(table: ScoreTable, finding: Finding, moves: Moves) -> NDArray[np.bool_]:
    """The other coins whose moves are known."""
    others: NDArray[np.bool_] = np.isfinite(moves.standard)
    others[table.code(finding.at)] = False
    return others


def _compared(
    table: ScoreTable, own: float, beta: float, moves: Moves, others: NDArray[np.bool_]
) -> MarketView:
    """A move of `own` standard deviations beside the median of the others'."""
    standard = moves.standard[others].tolist()
    if len(standard) < _FEWEST_PEERS or not own:
        return MarketView(Scope.UNKNOWN)
    market = median(standard)
    ratio = market / own
    return MarketView(
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
