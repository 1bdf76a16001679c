"""Large moves: over several horizons, of the coin and of the market, on a scale where size counts too.

    m_h(t) = (x(t) - x(t - h)) / sqrt(elapsed minutes) / sqrt(s(t) * l)
    own(t) = max over h of abs(m_h(t)),   market(t) = max over h of abs(median over coins of m_h(t))
    large(t) = sqrt((own(t)^2 + market(t)^2) / 2)

s is the slow volatility of the last weeks and l that of the last year or more. A score relative to present volatility
finds the second hour of a crash unsurprising, and one relative to that of the last weeks a crash in a wild month; with
half of the scaling fixed, the crashes of calm and of wild months are comparable.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.market import Era, median
from market_pipeline.anomalies.scores.returns import Indices, Returns
from market_pipeline.anomalies.series import Floats

# The last return counts as this long at least (minutes): what shorter ones show is noise of the quotes.
_SHORTEST = 5.0
# Another coin's moves count as present up to this age of its last quote: minutes, or multiples of the own interval.
_LATEST = 15.0
_INTERVALS = 1.5
# The long volatility counts as at least this part of the slow one: a coin that has become another one, such as a
# stablecoin that lost its peg, is not measured by its past.
_WILDEST = 3.0
# With fewer coins, the own one included, there is no market.
_FEWEST_COINS = 3
# Without a market a coin's own moves stand for both; the market's are this share of the coin's at equal rarity.
_MARKET_SHARE = 0.86


@dataclass(frozen=True, eq=False)
class ScaledMoves:
    """The scaled moves of a coin up to each of its quotes from number `first` on.

    `minutes` is the clock of these quotes, `moves` one array a horizon (the last return first), `starts` the quotes
    at which they begin, -1 where the series does not reach back so far; the move is then NaN.
    """

    first: int
    minutes: Floats
    moves: tuple[Floats, ...]
    starts: tuple[Indices, ...]


@dataclass(frozen=True)
class LargeMoves:
    """Per quote the score of the largest move of the coin and of the market; 0 before `first`.

    `before` is the quote at which the coin's starts and `horizon` its horizon in minutes (0: the last return);
    `market_horizon` is the market's, and `market_direction` its sign (0 where the market is unknown).
    """

    score: Floats
    before: Indices
    horizon: Floats
    market: Floats
    market_horizon: Floats
    market_direction: Floats


def scaled_moves(returns: Returns, slow: Floats, long: float, first: int = 0) -> ScaledMoves:
    """Scale the moves up to each quote; `slow` and `long` are volatilities per square root of a minute."""
    clock, path = returns.minutes, returns.log_price
    numbers = (float(first), *PARAMETERS.horizons)
    starts = [returns.before[first:]]
    starts += [each[first:].astype(np.intp) for each in run(_starts, [clock], numbers, len(PARAMETERS.horizons))]
    now, here = clock[first:], path[first:]
    lately = slow[first:]
    scale = np.sqrt(lately * np.maximum(long, lately / _WILDEST))
    moves = []
    for start in starts:
        with np.errstate(invalid="ignore"):
            elapsed = np.maximum(now - clock[start], _SHORTEST)
            move = (here - path[start]) / (np.sqrt(elapsed) * scale)
        move[start < 0] = np.nan
        moves.append(move)
    return ScaledMoves(first, now, tuple(moves), tuple(starts))


def large_moves(symbol: str, returns: Returns, coins: Mapping[str, ScaledMoves], eras: Sequence[Era]) -> LargeMoves:
    """Find the largest moves of the coin and of the market at each quote; `coins` has the moves of every coin."""
    own = coins[symbol]
    count, size = own.first, len(returns.minutes)
    best, which = _largest(own.moves)
    market, market_which, direction = _market(symbol, own, returns.elapsed[count:], coins, eras)
    known = direction != 0
    score = np.where(known, np.sqrt((best * best + market * market) / 2), _MARKET_SHARE * best)
    horizons = np.array([0.0, *PARAMETERS.horizons])
    starts = np.array(own.starts)[which, np.arange(size - count)] if size > count else np.empty(0, np.intp)

    def padded(values: NDArray[np.generic], fill: float) -> Floats:
        whole = np.full(size, fill)
        whole[count:] = values
        return whole

    return LargeMoves(
        score=padded(score, 0.0),
        before=padded(np.where(best > 0, starts, -1), -1).astype(np.intp),
        horizon=padded(horizons[which], 0.0),
        market=padded(market, 0.0),
        market_horizon=padded(horizons[market_which], 0.0),
        market_direction=padded(direction, 0.0),
    )


def _market(
    symbol: str, own: ScaledMoves, elapsed: Floats, coins: Mapping[str, ScaledMoves], eras: Sequence[Era]
) -> tuple[Floats, Indices, Floats]:
    """Return at each quote the market's largest move, the number of its horizon, and its direction."""
    size = len(own.minutes)
    score, which, direction = np.zeros(size), np.zeros(size, dtype=np.intp), np.zeros(size)
    borders = [*np.searchsorted(own.minutes, [era.start for era in eras]).tolist(), size]
    for era, first, last in zip(eras, borders[:-1], borders[1:], strict=True):
        if first == last or len(era.coins) < _FEWEST_COINS:
            continue
        moves = [_moves_at(own, elapsed, coins[other], slice(first, last)) for other in era.coins]
        medians = [median([of[horizon] for of in moves], _FEWEST_COINS) for horizon in range(len(own.moves))]
        score[first:last], which[first:last] = _largest(medians)
        chosen = np.array(medians)[which[first:last], np.arange(last - first)]
        direction[first:last] = np.sign(np.nan_to_num(chosen))
    return score, which, direction


def _moves_at(own: ScaledMoves, elapsed: Floats, other: ScaledMoves, place: slice) -> list[Floats]:
    """Return the other coin's moves as of its last quote before each of `place`; NaN where that is too old."""
    now = own.minutes[place]
    if other is own or (len(own.minutes) == len(other.minutes) and np.array_equal(own.minutes, other.minutes)):
        return [move[place] for move in other.moves]
    at = np.searchsorted(other.minutes, now, "right") - 1
    if not len(other.minutes):
        return [np.full(len(now), np.nan)] * len(other.moves)
    age = now - other.minutes[at]
    old = (at < 0) | (age > np.maximum(_LATEST, _INTERVALS * elapsed[place]))
    moves = [move[at] for move in other.moves]
    for move in moves:
        move[old] = np.nan
    return moves


def _largest(moves: Sequence[Floats]) -> tuple[Floats, Indices]:
    """Return the largest absolute move at each quote, 0 where none is known, and its number."""
    best, which = np.zeros(len(moves[0])), np.zeros(len(moves[0]), dtype=np.intp)
    for number, move in enumerate(moves):
        larger = np.abs(move) > best
        best = np.where(larger, np.abs(move), best)
        which[larger] = number
    return best, which


def _starts(rows, numbers, tables, out):  # type: ignore[no-untyped-def]  # lists, or arrays in Numba
    [clocks] = rows
    first, h1, h2, h3, h4 = numbers
    starts_1, starts_2, starts_3, starts_4 = out
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
        starts_1[i], starts_2[i], starts_3[i], starts_4[i] = s1, s2, s3, s4
