"""Large moves: over several horizons, of the coin and of the market, on a scale where size counts too.

    m_h(t) = (x(t) - x(t - h)) / sqrt(elapsed minutes) / sqrt(s(t) * l)
    own(t) = max over h of abs(m_h(t)),   market(t) = max over h of abs(median over coins of m_h(t))
    large(t) = sqrt(0.3 own(t)^2 + 0.7 market(t)^2)

s is the slow volatility of the last weeks and l that of the last year or more. A score relative to present volatility
finds the second hour of a crash unsurprising, and one relative to that of the last weeks a crash in a wild month; with
half of the scaling fixed, the crashes of calm and of wild months are comparable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.loops import run
from market_pipeline.anomalies.scores.market import Era, median
from market_pipeline.anomalies.scores.returns import Indices, Returns
from market_pipeline.anomalies.series import Floats

# The last return counts as this long at least (minutes): what shorter ones show is noise of the quotes.
_SHORTEST = 10.0
# Another coin's moves count as present up to this age of its last quote: minutes, or multiples of the own interval.
_LATEST = 15.0
_INTERVALS = 1.5
# Where the slow volatility is more than so many times the long one, or less than one in so many, the long one counts
# for less, and from the square of that on not at all: a coin that has become another one, such as a stablecoin that
# lost its peg, is not measured by its past, nor a calm one by the prior of all coins.
_WILDER, _CALMER = 3.0, 6.0
# The market's part of the score: most days that a person remembers are the market's.
_MARKET_WEIGHT = 0.7
# With fewer coins, the own one included, there is no market.
_FEWEST_COINS = 3
# Without a market a coin's own moves stand for both; the market's are this share of the coin's at equal rarity.
_MARKET_SHARE = 0.89


@dataclass(frozen=True, eq=False)
class ScaledMoves:
    """The scaled moves of a coin up to each of its quotes from number `first` on.

    `minutes` is the clock of these quotes, `moves` one array a horizon (the last return first), `starts` the quotes
    at which they begin, -1 where the series does not reach back so far; the move is then NaN. `clock` is that of all
    quotes and `roots` are the square roots of the minutes that the moves took.
    """

    first: int
    minutes: Floats
    moves: tuple[Floats, ...]
    starts: tuple[Indices, ...]
    clock: Floats
    roots: tuple[Floats, ...]


@dataclass(frozen=True)
class LargeMoves:
    """Per quote the score of the largest move of the coin and of the market; 0 before `first`.

    `before` is the quote at which the coin's starts and `horizon` its horizon in minutes (0: the last return);
    `market_horizon` is the market's, and `market_direction` its sign (0 where the market is unknown). Without details
    `before` and the horizons are empty.
    """

    score: Floats
    before: Indices
    horizon: Floats
    market: Floats
    market_horizon: Floats
    market_direction: Floats


def scaled_moves(
    returns: Returns, slow: Floats, long: float, first: int = 0, like: ScaledMoves | None = None
) -> ScaledMoves:
    """Scale the moves up to each quote; `slow` and `long` are volatilities per square root of a minute.

    The horizons begin where those of `like` do if that coin is quoted at the same times.
    """
    clock, path = returns.minutes, returns.log_price
    now, here = clock[first:], path[first:]
    before = returns.before[first:]
    roots: tuple[Floats, ...]
    starts: tuple[Indices, ...]
    if like is not None and like.first == first and np.array_equal(like.clock, clock):
        starts, roots = (before, *like.starts[1:]), (_roots(clock, now, before), *like.roots[1:])
    else:
        numbers = (float(first), *PARAMETERS.horizons)
        of_horizons = run(_starts, [clock], numbers, len(PARAMETERS.horizons))
        starts = (before, *(each[first:].astype(np.intp) for each in of_horizons))
        roots = tuple(_roots(clock, now, start) for start in starts)
    scale = _scale(slow[first:], long)
    moves = []
    for start, root in zip(starts, roots, strict=True):
        move = here - path[start]
        with np.errstate(invalid="ignore"):
            move /= root * scale
        move[: np.searchsorted(start, 0)] = np.nan
        moves.append(move)
    return ScaledMoves(first, now, tuple(moves), starts, clock, roots)


def _roots(clock: Floats, now: Floats, start: Indices) -> Floats:
    """Return the square roots of the minutes from each start to `now`."""
    roots: Floats = np.sqrt(np.maximum(now - clock[start], _SHORTEST))
    return roots


def _scale(slow: Floats, long: float) -> Floats:
    """Return the geometric mean of both volatilities, or what is nearer to the slow one where they are far apart."""
    scale: Floats = np.sqrt(slow * long)
    far = np.flatnonzero((slow > _WILDER * long) | (slow * _CALMER < long))
    ratio = np.log(long / slow[far])
    left = np.maximum(2 * np.log(np.where(ratio < 0, _WILDER, _CALMER)) - np.abs(ratio), 0.0)
    scale[far] = slow[far] * np.exp(0.5 * np.copysign(left, ratio))
    return scale


def large_moves(own: ScaledMoves, returns: Returns, market: MarketMoves, *, details: bool = True) -> LargeMoves:
    """Find the largest moves of the coin and of the market at each quote; without `details` only their scores."""
    count, size = own.first, len(returns.minutes)
    moved, market_which = market.seen_by(own, returns.elapsed[count:])
    horizons = np.array([0.0, *PARAMETERS.horizons])

    def padded(values: Floats) -> Floats:
        return values if not count else np.concatenate([np.zeros(count), values])

    if details:
        best, which = _largest(own.moves)
        best = np.abs(best)
        start = own.starts[0].copy()
        for number, of_horizon in enumerate(own.starts[1:], start=1):
            np.copyto(start, of_horizon, where=which == number)
        start[best == 0] = -1
        before = np.concatenate([np.full(count, -1), start])
        horizon, market_horizon = padded(horizons[which]), padded(horizons[market_which])
    else:
        best = np.zeros(size - count)
        for move in own.moves:
            np.fmax(best, np.abs(move), out=best)
        before, horizon, market_horizon = np.full(0, -1), np.empty(0), np.empty(0)
    both = np.sqrt((1 - _MARKET_WEIGHT) * best**2 + _MARKET_WEIGHT * moved**2)
    score = np.where(moved != 0, both, _MARKET_SHARE * best)
    return LargeMoves(
        score=padded(score),
        before=before,
        horizon=horizon,
        market=padded(np.abs(moved)),
        market_horizon=market_horizon,
        market_direction=padded(np.sign(moved)),
    )


class MarketMoves:
    """The market's moves, computed once for all coins if they are quoted at the same times."""

    def __init__(self, coins: Mapping[str, ScaledMoves], eras: Sequence[Era]) -> None:
        self._coins, self._eras = coins, eras
        self._shared: tuple[Floats, Indices] | None = None
        clocks = [coin.minutes for coin in coins.values()]
        self._together = len(clocks) > 1 and all(np.array_equal(clock, clocks[0]) for clock in clocks[1:])

    def seen_by(self, own: ScaledMoves, elapsed: Floats) -> tuple[Floats, Indices]:
        """Return the market's largest move as of each quote of a coin, signed, and the number of its horizon.

        0 where the market is unknown; `elapsed` is the interval of each quote.
        """
        if not self._together:
            return self._seen_by(own, elapsed)
        if self._shared is None:
            self._shared = self._seen_by(own, elapsed)
        return self._shared

    def _seen_by(self, own: ScaledMoves, elapsed: Floats) -> tuple[Floats, Indices]:
        size = len(own.minutes)
        market, which = np.zeros(size), np.zeros(size, dtype=np.intp)
        borders = [*np.searchsorted(own.minutes, [era.start for era in self._eras]).tolist(), size]
        for era, first, last in zip(self._eras, borders[:-1], borders[1:], strict=True):
            if first == last or len(era.coins) < _FEWEST_COINS:
                continue
            place = slice(first, last)
            moves = [_moves_at(own, elapsed, self._coins[other], place) for other in era.coins]
            medians = [median([of[horizon] for of in moves], _FEWEST_COINS) for horizon in range(len(own.moves))]
            market[place], which[place] = _largest(medians)
        return market, which


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
    """Return the move of the largest size at each quote, 0 where none is known, and its number."""
    best, largest = np.zeros(len(moves[0])), np.zeros(len(moves[0]))
    which = np.zeros(len(moves[0]), dtype=np.intp)
    for number, move in enumerate(moves):
        sizes = np.abs(move)
        larger = sizes > best
        np.copyto(best, sizes, where=larger)
        np.copyto(largest, move, where=larger)
        np.copyto(which, number, where=larger)
    return largest, which


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
