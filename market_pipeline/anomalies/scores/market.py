"""The market as each coin sees it: what the other coins did over the same interval.

A coin's move is compared with the median of the other coins' moves, each in its own standard deviations; one coin that
jumps alone does not move a median. The residual of an exponentially weighted regression on it is the coin's own move
(cf. co-jumps: Bollerslev, Law & Tauchen 2008).

Coins are quoted at different times: another coin's move runs from its last quote before the interval to its last quote
inside. Nothing after the end of the interval is used.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.returns import Returns
from market_pipeline.anomalies.series import Floats

# By market value; coins not named here rank after them, by symbol.
_LEADERS = ("BTC", "ETH", "XRP", "BNB", "SOL", "DOGE", "ADA", "TRX", "LINK", "DOT", "LTC", "AVAX")
_RANK = {symbol: number for number, symbol in enumerate(_LEADERS)}
# With fewer other coins there is no market: of two coins the median is the mean, which one of them moves alone.
FEWEST_PEERS = 3
# A coin has moved from this many of its standard deviations on.
MOVED = 2.0
# Another coin's move counts if it has at least this much in common with the interval: the minutes shared by both, over
# the geometric mean of their lengths, which is the correlation of two such pieces of one random walk. Live quotes of
# one collection are seconds apart; the first of them cannot see the others yet, so detection compares it again
# (`rules/peers.py`).
_LEAST_OVERLAP = 0.5


@dataclass(frozen=True)
class CoinPath:
    """The changed quotes of a coin: clock (minutes), log price, and the cumulative expected variance at each."""

    minutes: Floats
    log_price: Floats
    variance: Floats

    @cached_property
    def moves(self) -> Floats:
        """The standardised move from each quote to the next, NaN at the first."""
        moves = np.full(len(self.minutes), np.nan)
        moves[1:] = np.diff(self.log_price) / np.sqrt(np.diff(self.variance))
        return moves


def path_of(returns: Returns, step_variance: Floats) -> CoinPath:
    """Return the path of a coin; `step_variance` is the expected variance of the log return since the last quote."""
    variance = np.cumsum(step_variance)
    if returns.fresh.all():
        return CoinPath(returns.minutes, returns.log_price, variance)
    changed = returns.fresh
    return CoinPath(returns.minutes[changed], returns.log_price[changed], variance[changed])


@dataclass(frozen=True, eq=False)
class Era:
    """The coins that make up the market from `start` (minutes, as in `CoinPath`) to the start of the next era."""

    start: float
    coins: Mapping[str, CoinPath]


def market_eras(paths: Mapping[str, CoinPath]) -> list[Era]:
    """Return eras of the first `market_coins` by rank of the coins quoted so far; the first starts at -infinity.

    A coin that starts later must not change earlier scores. With no more coins than that, there is one era.
    """
    ranked = sorted(paths, key=lambda symbol: (_RANK.get(symbol, len(_RANK)), symbol))
    eras: list[Era] = []
    for start in sorted({float(path.minutes[0]) for path in paths.values()}):
        quoted = [symbol for symbol in ranked if paths[symbol].minutes[0] <= start]
        coins = {symbol: paths[symbol] for symbol in quoted[: PARAMETERS.market_coins]}
        if not eras:
            eras.append(Era(float("-inf"), coins))
        elif eras[-1].coins.keys() <= coins.keys():
            # No coin is displaced, and a coin has no moves before its first quote.
            eras[-1] = Era(eras[-1].start, coins)
        else:
            eras.append(Era(start, coins))
    return eras


@dataclass(frozen=True)
class PeerMoves:
    """Per quote what the other coins did over its interval.

    `middle` is the median move of those that were quoted, however few, `square` their mean square and `overlap` what
    their moves have in common with the interval: all 0 where none was quoted, NaN until `FEWEST_PEERS` have begun.
    `z` is the median where at least `FEWEST_PEERS` were quoted, else NaN; `peers_moved` of them moved the same way.
    """

    z: Floats
    peers_moved: Floats
    middle: Floats
    square: Floats
    overlap: Floats


def peer_moves(symbol: str, own: Returns, own_z: Floats, eras: Sequence[Era]) -> PeerMoves:
    """Return what the market coins other than `symbol` did over its intervals; `own_z` gives the direction."""
    z, middle, square, overlap = (np.full(len(own_z), np.nan) for _ in range(4))
    moved = np.zeros(len(own_z))
    borders = [*np.searchsorted(own.minutes, [era.start for era in eras]).tolist(), len(own_z)]
    for era, first, last in zip(eras, borders[:-1], borders[1:], strict=True):
        others = [path for other, path in era.coins.items() if other != symbol]
        if len(others) >= FEWEST_PEERS:
            # There is no market before enough coins have begun.
            begun = sorted(path.minutes[0] for path in others)[FEWEST_PEERS - 1]
            first = max(first, int(np.searchsorted(own.minutes, begun)))
        if first >= last or len(others) < FEWEST_PEERS:
            continue
        rows = slice(first, last)
        moves, overlaps = zip(*(_moves(own, path, rows) for path in others), strict=True)
        count, square[rows] = _count_and_mean_square(moves)
        middle[rows] = median(moves, 1)
        overlap[rows] = _mean_overlap(moves, overlaps, count)
        direction = np.sign(own_z[rows])
        with np.errstate(invalid="ignore"):
            moved[rows] = sum(move * direction >= MOVED for move in moves)
        few = first + np.flatnonzero(count < FEWEST_PEERS)
        z[rows], z[few], moved[few] = middle[rows], np.nan, 0.0
        middle[few[count[few - first] == 0]] = 0.0
    return PeerMoves(z, moved, middle, square, overlap)


def _moves(own: Returns, other: CoinPath, rows: slice) -> tuple[Floats, Floats | None]:
    """Return the other coin's standardised moves over these intervals of `own`, and what they have in common with them.

    NaN and 0 where it was not quoted; None if it has the same quotes, and so everything in common.
    """
    last: int = rows.stop
    minutes, before = own.minutes[:last], own.before[:last]
    if own.fresh.all() and np.array_equal(minutes, other.minutes[:last]):
        return other.moves[rows], None
    moves, overlap = np.full(last, np.nan), np.zeros(last)
    end = np.searchsorted(other.minutes, minutes, "right") - 1
    start = end[before]
    usable = np.flatnonzero((before >= 0) & (start >= 0) & (end > start))
    end, start, begin = end[usable], start[usable], minutes[before[usable]]
    lengths = (minutes[usable] - begin) * (other.minutes[end] - other.minutes[start])
    common = (other.minutes[end] - begin) / np.sqrt(lengths)
    enough = common >= _LEAST_OVERLAP
    usable, end, start = usable[enough], end[enough], start[enough]
    change = other.log_price[end] - other.log_price[start]
    moves[usable] = change / np.sqrt(other.variance[end] - other.variance[start])
    overlap[usable] = common[enough]
    return moves[rows], overlap[rows]


def _count_and_mean_square(columns: Sequence[Floats]) -> tuple[Floats, Floats]:
    """Return how many of each row over `columns` are known, and the mean of their squares, 0 without any."""
    count, squares = np.full(len(columns[0]), float(len(columns))), np.zeros(len(columns[0]))
    for column in columns:
        squares += column * column
    squares /= len(columns)
    unknown = np.flatnonzero(np.isnan(squares))
    if len(unknown):
        # One column after the other: NumPy adds few rows in another order than many.
        known, total = np.zeros(len(unknown)), np.zeros(len(unknown))
        for column in columns:
            known += np.isfinite(column[unknown])
            total += np.nan_to_num(column[unknown]) ** 2
        count[unknown], squares[unknown] = known, total / np.maximum(known, 1)
    return count, squares


def _mean_overlap(moves: Sequence[Floats], overlaps: Sequence[Floats | None], count: Floats) -> Floats:
    """Return the mean over the coins that are known, of which there are `count`."""
    if all(overlap is None for overlap in overlaps):
        return np.minimum(count, 1.0)
    total = np.zeros(len(count))
    for move, overlap in zip(moves, overlaps, strict=True):
        total += np.isfinite(move) if overlap is None else overlap
    mean: Floats = total / np.maximum(count, 1.0)
    return mean


def median(columns: Sequence[Floats], least: int) -> Floats:
    """Return the median of each row over `columns`, NaN where fewer than `least` are known."""
    middle = _median_of_all([column.copy() for column in columns])
    unknown = np.flatnonzero(np.isnan(middle))
    if len(unknown):
        some = np.sort(np.array([column[unknown] for column in columns]), axis=0)  # NaN sorts last.
        count = np.isfinite(some).sum(axis=0)
        row = np.arange(len(unknown))
        value = (some[np.maximum(count - 1, 0) // 2, row] + some[count // 2 % len(columns), row]) / 2
        middle[unknown] = np.where(count >= least, value, np.nan)
    return middle


def _median_of_all(columns: list[Floats]) -> Floats:
    """Return the median where all are known, else NaN; compare-and-exchange is faster than sorting few columns."""
    for last in range(len(columns) - 1, len(columns) // 2 - 1, -1):
        for lower in range(last):
            low, high = columns[lower], columns[lower + 1]
            columns[lower], columns[lower + 1] = np.minimum(low, high), np.maximum(low, high)
    upper = columns[len(columns) // 2]
    if len(columns) % 2:
        return upper
    below = columns[0]
    for column in columns[1 : len(columns) // 2]:
        below = np.maximum(below, column)
    middle: Floats = (below + upper) / 2
    return middle
