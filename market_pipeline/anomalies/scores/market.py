"""Which coins tell the market: the largest of those quoted so far, and nothing of who comes later."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.returns import Floats, Returns

# The largest by value, which others follow; coins not named here come after them, by symbol.
_LEADERS = ("BTC", "ETH", "XRP", "BNB", "SOL", "DOGE", "ADA", "TRX", "LINK", "DOT", "LTC", "AVAX")
_RANK = {symbol: number for number, symbol in enumerate(_LEADERS)}


@dataclass(frozen=True)
class CoinPath:
    """A coin's changed quotes as others see them: clock (minutes), log price, and the variance expected until
    each, summed up."""

    minutes: Floats
    log_price: Floats
    variance: Floats


@dataclass(frozen=True, eq=False)
class Era:
    """From `start` (minutes, as in `CoinPath`) to the start of the next era these coins tell the market."""

    start: float
    coins: Mapping[str, CoinPath]


def market_eras(paths: Mapping[str, CoinPath]) -> list[Era]:
    """At any time the first `market_coins` by rank of the coins quoted so far; the first era starts with time.

    With no more coins than that, one era has them all.
    """
    ranked = sorted(paths, key=lambda symbol: (_RANK.get(symbol, len(_RANK)), symbol))
    eras: list[Era] = []
    for start in sorted({float(path.minutes[0]) for path in paths.values()}):
        quoted = [symbol for symbol in ranked if paths[symbol].minutes[0] <= start]
        coins = {symbol: paths[symbol] for symbol in quoted[: PARAMETERS.market_coins]}
        if not eras:
            eras.append(Era(float("-inf"), coins))
        elif eras[-1].coins.keys() <= coins.keys():
            # A coin says nothing before its first quote, so nobody has to wait for it.
            eras[-1] = Era(eras[-1].start, coins)
        else:
            eras.append(Era(start, coins))
    return eras


def median(columns: Sequence[Floats], least: int) -> Floats:
    """The median of each row over `columns`, NaN where fewer than `least` are known."""
    middle = _median_of_all([column.copy() for column in columns])
    unknown = np.flatnonzero(np.isnan(middle))
    if len(unknown):
        some = np.sort(np.array([column[unknown] for column in columns]), axis=0)  # NaN comes last.
        count = np.isfinite(some).sum(axis=0)
        row = np.arange(len(unknown))
        value = (some[np.maximum(count - 1, 0) // 2, row] + some[count // 2 % len(columns), row]) / 2
        middle[unknown] = np.where(count >= least, value, np.nan)
    return middle


def _median_of_all(columns: list[Floats]) -> Floats:
    """The median where all are known, else NaN; by compare and exchange, which beats sorting few columns."""
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


# Fewer other coins are not a market.
_FEWEST_PEERS = 2
_MOVED = 2.0
# How old another coin's last quote may be: minutes, or a share of the interval where that is more. Hourly
# quotes of different coins may be far apart; those of one live collection are not, and what the first of
# them cannot know yet is looked at again in detection.
_LATEST = 5.0
_SHARE = 0.5


def path_of(returns: Returns, step_variance: Floats) -> CoinPath:
    """The path of a coin; `step_variance` is that expected of the log return since the quote before."""
    variance = np.cumsum(step_variance)
    if returns.changed.all():
        return CoinPath(returns.minutes, returns.log_price, variance)
    changed = returns.changed
    return CoinPath(returns.minutes[changed], returns.log_price[changed], variance[changed])


@dataclass(frozen=True)
class PeerMoves:
    """Per quote of one coin; NaN (`peers_moved` 0) where fewer than two others had quotes in the interval."""

    z: Floats
    peers_moved: Floats


def peer_moves(symbol: str, own: Returns, own_z: Floats, eras: Sequence[Era]) -> PeerMoves:
    """What the market coins other than `symbol` did over its intervals; `own_z` gives the direction."""
    z, moved = np.full(len(own_z), np.nan), np.zeros(len(own_z))
    borders = [*np.searchsorted(own.minutes, [era.start for era in eras]).tolist(), len(own_z)]
    for era, first, last in zip(eras, borders[:-1], borders[1:], strict=True):
        if first == last:
            continue
        moves = [_moves(own, path, last)[first:] for other, path in era.coins.items() if other != symbol]
        if len(moves) >= _FEWEST_PEERS:
            z[first:last] = median(moves, _FEWEST_PEERS)
            moved[first:last] = _moved(moves, np.sign(own_z[first:last]))
    # Not one peer either where the market is not known: another may be quoted only later.
    return PeerMoves(z, np.where(np.isnan(z), 0.0, moved))


def _moves(own: Returns, other: CoinPath, last: int) -> Floats:
    """The other coin's moves over the intervals of `own` before number `last`, in standard deviations; NaN
    where it had no quote."""
    moves = np.full(last, np.nan)
    minutes, before = own.minutes[:last], own.before[:last]
    if own.changed.all() and np.array_equal(minutes, other.minutes):
        moves[1:] = np.diff(other.log_price) / np.sqrt(np.diff(other.variance))
        return moves
    end = np.searchsorted(other.minutes, minutes, "right") - 1
    start = end[before]
    usable = np.flatnonzero((before >= 0) & (start >= 0) & (end > start))
    # A move that lies mostly before the interval says nothing of it.
    late = minutes[usable] - other.minutes[end[usable]]
    usable = usable[late <= np.maximum(_LATEST, _SHARE * (minutes[usable] - minutes[before[usable]]))]
    end, start = end[usable], start[usable]
    change = other.log_price[end] - other.log_price[start]
    moves[usable] = change / np.sqrt(other.variance[end] - other.variance[start])
    return moves


def _moved(moves: Sequence[Floats], direction: Floats) -> Floats:
    """How many coins moved much in that direction."""
    count = np.zeros(len(direction))
    with np.errstate(invalid="ignore"):
        for move in moves:
            count += move * direction >= _MOVED
    return count
