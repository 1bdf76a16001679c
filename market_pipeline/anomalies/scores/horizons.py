"""Large moves: over several horizons, against slow volatility.

    max over h of abs(x(t) - x(t - h)) / (sigma_slow * sqrt(elapsed))

A score relative to present volatility finds the second hour of a crash unsurprising; this one does not.
"""

from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.returns import Indices, Returns
from market_pipeline.anomalies.series import Floats


@dataclass(frozen=True)
class LargeMoves:
    """Per quote the largest standardised move of the coin and of the market.

    `before` is the quote at which the coin's starts, `horizon` its horizon in minutes, 0 for the last return; the
    same of the market: `market_horizon`, and `market_direction` (+1, -1, or 0 where it has not moved).
    """

    score: Floats
    before: Indices
    horizon: Floats
    market: Floats
    market_horizon: Floats
    market_direction: Floats


def large_moves(returns: Returns, slow: Floats, market: Floats, first: int = 0) -> LargeMoves:
    """Find the largest moves at the quotes from number `first` on.

    The coin's are in units of `slow` (per square root of a minute); `market` is the market's log price in these units.
    """
    rows = (returns.minutes, returns.log_price, market, returns.before.astype(np.float64))
    numbers = (float(first), PARAMETERS.shortest_interval, *PARAMETERS.horizons)
    squares, before, horizon, market_squares, market_horizon, direction = run(_largest, rows, numbers, outputs=6)
    before[:first] = -1
    score, market_score = np.sqrt(squares) / slow, np.sqrt(market_squares)
    return LargeMoves(score, before.astype(np.intp), horizon, market_score, market_horizon, direction)


def _largest(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    clocks, path, market, returns_from = rows
    first, shortest, h1, h2, h3, h4 = numbers
    squares, before, horizons, market_squares, market_horizons, directions = out
    s1 = s2 = s3 = s4 = -1
    for i in range(int(first), len(clocks)):
        now = clocks[i]
        while clocks[s1 + 1] <= now - h1:
            s1 += 1
        while clocks[s2 + 1] <= now - h2:
            s2 += 1
        while clocks[s3 + 1] <= now - h3:
            s3 += 1
        while clocks[s4 + 1] <= now - h4:
            s4 += 1
        best = best_market = best_horizon = best_market_horizon = direction = 0.0
        best_start = -1
        for start, horizon in ((int(returns_from[i]), 0.0), (s1, h1), (s2, h2), (s3, h3), (s4, h4)):
            if start >= 0:
                elapsed = now - clocks[start]
                if elapsed < shortest:
                    elapsed = shortest
                move = path[i] - path[start]
                square = move * move / elapsed
                if square > best:
                    best = square
                    best_start = start
                    best_horizon = horizon
                move = market[i] - market[start]
                square = move * move / elapsed
                if square > best_market:
                    best_market = square
                    best_market_horizon = horizon
                    direction = 1.0 if move > 0.0 else -1.0
        squares[i] = best
        before[i] = best_start
        horizons[i] = best_horizon
        market_squares[i] = best_market
        market_horizons[i] = best_market_horizon
        directions[i] = direction
