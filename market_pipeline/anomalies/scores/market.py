"""The market as each coin sees it: what the other coins did over the same interval.

A coin's move is compared with the median of the other coins' moves, each in its own standard
deviations: one coin that jumps alone does not move a median. What is left after an exponentially
weighted regression on it is the coin's own (cf. co-jumps: Bollerslev, Law & Tauchen 2008).

Coins are quoted at different moments: another coin's move runs from its last quote before the interval
to its last quote inside. Nothing after the end of the interval is looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.scores.market_coins import CoinPath, Era
from market_pipeline.anomalies.scores.median import median
from market_pipeline.anomalies.scores.returns import Floats, Returns

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
class MarketView:
    """Per quote of one coin; NaN (`peers_moved` 0) where fewer than two others had quotes in the interval."""

    z: Floats
    peers_moved: Floats


def view_of(symbol: str, own: Returns, own_z: Floats, eras: Sequence[Era]) -> MarketView:
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
    return MarketView(z, np.where(np.isnan(z), 0.0, moved))


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
