"""The market as each coin sees it: what the other coins did over the same interval.

A coin's move is compared with the median of the other coins' moves, each in its own standard
deviations: one coin that jumps alone does not move a median. What is left after an exponentially
weighted regression on it is the coin's own (cf. co-jumps: Bollerslev, Law & Tauchen 2008).

Coins are quoted at different moments: another coin's move runs from its last quote before the interval
to its last quote inside. Nothing after the end of the interval is looked at.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.loops import run
from market_pipeline.anomalies.market_coins import CoinPath, Era
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.predictive import log10_tail
from market_pipeline.anomalies.returns import Floats, Returns

# Fewer other coins are not a market.
_FEWEST_PEERS = 2
_MOVED = 2.0
# Uncertainty of a residual's scale, as variance of its logarithm.
_SCALE_VARIANCE = 0.05


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


@dataclass(frozen=True)
class Residuals:
    """What the market leaves: `beta`, the residual in its own standard deviations, and its -log10 p."""

    beta: Floats
    z: Floats
    score: Floats


def view_of(symbol: str, own: Returns, own_z: Floats, eras: Sequence[Era]) -> MarketView:
    """What the market coins other than `symbol` did over each of its intervals; `own_z` gives the direction."""
    z, moved = np.full(len(own_z), np.nan), np.zeros(len(own_z))
    borders = [*np.searchsorted(own.minutes, [era.start for era in eras]).tolist(), len(own_z)]
    for era, first, last in zip(eras, borders[:-1], borders[1:], strict=True):
        if first == last:
            continue
        moves = [_moves(own, path, last)[first:] for other, path in era.coins.items() if other != symbol]
        if len(moves) >= _FEWEST_PEERS:
            z[first:last] = _median(moves)
            moved[first:last] = _moved(moves, np.sign(own_z[first:last]))
    # Not one peer either where the market is not known: another may be quoted only later.
    return MarketView(z, np.where(np.isnan(z), 0.0, moved))


def residuals(own_z: Floats, market_z: Floats, minutes: Floats) -> Residuals:
    """The residual of standardised moves on the market's; NaN where the market is not known."""
    numbers = (
        -math.log(2) / PARAMETERS.beta_half_life,
        -math.log(2) / PARAMETERS.residual_half_life,
        PARAMETERS.beta_truncation,
        PARAMETERS.beta_prior,
        PARAMETERS.beta_prior_weight,
        PARAMETERS.residual_variance,
        PARAMETERS.residual_truncation**2,
    )
    beta, residual, scale = run(_regress, (own_z, market_z, minutes), numbers, outputs=3)
    known = np.isfinite(market_z)
    z = np.where(known, residual / scale, np.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        u = np.log(np.abs(z))
    score = log10_tail(np.where(known, u, -np.inf), np.full(len(z), _SCALE_VARIANCE))
    return Residuals(np.where(known, beta, np.nan), z, np.where(known & (own_z != 0), score, 0.0))


def _moves(own: Returns, other: CoinPath, last: int) -> Floats:
    """The other coin's moves over the intervals of `own` before number `last`, in standard deviations; NaN where
    it had no quote."""
    moves = np.full(last, np.nan)
    minutes, before = own.minutes[:last], own.before[:last]
    if own.changed.all() and np.array_equal(minutes, other.minutes):
        moves[1:] = np.diff(other.log_price) / np.sqrt(np.diff(other.variance))
        return moves
    end = np.searchsorted(other.minutes, minutes, "right") - 1
    start = end[before]
    usable = np.flatnonzero((before >= 0) & (start >= 0) & (end > start))
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


def _median(moves: Sequence[Floats]) -> Floats:
    """The median across coins, NaN where fewer than two are known."""
    middle = _median_of_all([move.copy() for move in moves])
    unknown = np.flatnonzero(np.isnan(middle))
    if len(unknown):
        some = np.sort(np.array([move[unknown] for move in moves]), axis=0)  # NaN comes last.
        count = np.isfinite(some).sum(axis=0)
        columns = np.arange(len(unknown))
        value = (some[np.maximum(count - 1, 0) // 2, columns] + some[count // 2 % len(moves), columns]) / 2
        middle[unknown] = np.where(count >= _FEWEST_PEERS, value, np.nan)
    return middle


def _median_of_all(columns: list[Floats]) -> Floats:
    """The median where all are known, NaN elsewhere; by compare and exchange, which beats sorting few columns."""
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


def _regress(rows, numbers, tables, out):  # type: ignore[no-untyped-def]
    own, market, minutes = rows
    beta_rate, scale_rate, truncation, prior, prior_weight, variance, outlier = numbers
    betas, residuals_, scales = out
    cross = square = 0.0
    last = -1.0
    kept = weight = 0.0
    for i in range(len(own)):
        passed = minutes[i]
        if passed != last:
            last = passed
            kept = math.exp(beta_rate * passed)
            weight = 1.0 - math.exp(scale_rate * passed)
        beta = (cross + prior * prior_weight) / (square + prior_weight)
        betas[i] = beta
        scales[i] = math.sqrt(variance)
        f = market[i]
        z = own[i]
        if f != f or z == 0.0:
            continue
        residual = z - beta * f
        residuals_[i] = residual
        if z > truncation:
            z = truncation
        elif z < -truncation:
            z = -truncation
        if f > truncation:
            f = truncation
        elif f < -truncation:
            f = -truncation
        cross = cross * kept + z * f
        square = square * kept + f * f
        residual *= residual
        if residual > outlier * variance:
            residual = outlier * variance
        variance += weight * (residual - variance)
