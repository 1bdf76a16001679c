"""Score tails: how often a score occurred in the past, and what that implies for larger ones.

Beyond a high quantile u the excesses follow a generalised Pareto distribution (Pickands 1975), fitted by
probability-weighted moments (Hosking & Wallis 1987), as in Siffer et al., KDD 2017:

    P(score > s) = share * (1 + shape * (s - u) / scale) ** (-1 / shape)

Scores of single returns (jump, residual) are nearly independent of each other: their tails count quotes. Those of large
moves (large_move, market) overlap for hours: their tails count days by their highest score, so that 1 / P is a return
period in days.

One coin's past is short and the tail of a short past is unsteady. So a tail is mixed: the coin's own with that of all
coins, and that with a prior, each by how much it rests on (`MixedTail`).
"""

import math
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import LEAST_P, PARAMETERS
from market_pipeline.anomalies.series import Floats

SCORES = ("jump", "large_move", "residual", "market")
# The scores whose tails count days.
PEAKS = ("large_move", "market")
# What a probability mostly rests on: the coin's own past, that of all coins, or the prior.
OWN, POOLED, PRIOR = BASES = ("own", "pooled", "prior")

# Fitted shapes are clipped to this range: a few excesses say little about the far tail.
_LIGHTEST, _HEAVIEST = -0.1, 0.6
_FEWEST_EXCESSES = 10
# The bend of the tails that count days: highest scores are rarely low.
DAILY_BEND = 1.7


@dataclass(frozen=True)
class Tail:
    """`share` of the scores lay above `threshold`; the excesses have this `shape` and `scale`.

    Below the threshold the probability is share ** ((score / threshold) ** bend). The tail was fitted to `scores`
    scores of `days` days; a prior has none.
    """

    threshold: float
    share: float
    shape: float
    scale: float
    scores: int = 0
    days: float = 0.0
    bend: float = 1.0

    @property
    def excesses(self) -> int:
        """How many scores lay above the threshold."""
        return round(self.share * self.scores)

    def probability(self, scores: Floats) -> Floats:
        """Return the probability of a score at least as large."""
        p = _below(scores, self.threshold, self.share, self.bend)
        beyond = np.flatnonzero(scores > self.threshold)
        excess = (scores[beyond] - self.threshold) / self.scale
        if abs(self.shape) < 1e-6:
            left = np.exp(-excess)
        else:
            left = np.maximum(1 + self.shape * excess, LEAST_P) ** (-1 / self.shape)
        p[beyond] = np.maximum(self.share * left, LEAST_P)
        return p


@dataclass(frozen=True)
class MixedTail:
    """A mixture of tails with `weights` that add up to 1; `basis` is what it mostly rests on, one of `BASES`.

    `days` and `excesses` are those of the basis.
    """

    tails: tuple[Tail, ...]
    weights: tuple[float, ...]
    basis: str
    days: float
    excesses: int

    def probability(self, scores: Floats) -> Floats:
        """Return the probability of a score at least as large."""
        lowest = min(tail.threshold for tail in self.tails)
        share = float(self._mixed(np.array([lowest]))[0])
        p = _below(scores, lowest, share, self.tails[0].bend)
        beyond = np.flatnonzero(scores > lowest)
        p[beyond] = self._mixed(scores[beyond])
        return p

    def _mixed(self, scores: Floats) -> Floats:
        mixed: Floats = np.zeros(len(scores))
        for tail, weight in zip(self.tails, self.weights, strict=True):
            mixed += weight * tail.probability(scores)
        return mixed


def _below(scores: Floats, threshold: float, share: float, bend: float) -> Floats:
    """Return the probability of scores up to the threshold."""
    ratio: Floats = scores / threshold
    if bend != 1.0:
        ratio **= bend
    p: Floats = np.exp(ratio * math.log(share))
    return p


def fit(scores: Floats, quantile: float, days: float, bend: float = 1.0) -> Tail | None:
    """Fit the tail beyond `quantile` of scores of so many days; None if there are too few or they do not vary.

    By probability-weighted moments, which stay unbiased where ordinary moments of heavy tails do not.
    """
    if len(scores) * (1 - quantile) < _FEWEST_EXCESSES:
        return None
    threshold = float(np.quantile(scores, quantile))
    excess = np.sort(scores[scores > threshold]) - threshold
    if threshold <= 0 or len(excess) < _FEWEST_EXCESSES or excess[-1] <= 0:
        return None
    mean = float(excess.mean())
    above = 1 - (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    weighted = float((excess * above).mean())
    shape = min(max(2 - mean / (mean - 2 * weighted), _LIGHTEST), _HEAVIEST)
    # This scale preserves the mean where the shape was clipped.
    return Tail(threshold, len(excess) / len(scores), shape, mean * (1 - shape), len(scores), days, bend)


def mix(own: Tail | None, pooled: Tail | None, score: str, cadence: str) -> MixedTail:
    """Mix what is known of one score at one cadence with the prior."""
    of_own, of_pooled = _weight(own, score), _weight(pooled, score)
    parts = (
        (own, of_own, OWN),
        (pooled, (1 - of_own) * of_pooled, POOLED),
        (PRIOR_TAILS[score, cadence], (1 - of_own) * (1 - of_pooled), PRIOR),
    )
    known = [(tail, weight, basis) for tail, weight, basis in parts if tail is not None and weight > 0]
    main, _, basis = max(known, key=lambda part: part[1])
    tails, weights = tuple(part[0] for part in known), tuple(part[1] for part in known)
    return MixedTail(tails, weights, basis, main.days, main.excesses)


def _weight(tail: Tail | None, score: str) -> float:
    """Return the weight of a tail against what it is mixed with."""
    if tail is None:
        return 0.0
    if score in PEAKS:
        # Coins move together: days count, not scores.
        return tail.days / (tail.days + PARAMETERS.prior_days)
    return tail.excesses / (tail.excesses + PARAMETERS.prior_excesses)


def share_of_quotes(chance: Floats, cadence: str) -> Floats:
    """Return the share of quotes with a score that a day reaches with this probability.

    A day that reaches it stays beyond it for a share `least + more * chance` of its quotes where that is rare: measured
    on prices of BTC, ETH, SOL, ADA and DOT (docs/decisions/0024). What every day reaches every quote does.
    """
    least, more = TIME_BEYOND[cadence]
    eighth = chance * chance
    eighth *= eighth
    eighth *= eighth
    p: Floats = chance * (least + more * chance + (1 - least - more) * eighth)
    return p


TIME_BEYOND: dict[str, tuple[float, float]] = {
    "5-minute": (0.0105, 0.088), "hourly": (0.083, 0.28), "daily": (1.0, 0.0),
}

# From 5-minute prices of BTC, ETH, SOL, ADA and DOT, December 2020 to December 2025, and the same thinned to hours and
# days: docs/decisions/0024.
PRIOR_TAILS: dict[tuple[str, str], Tail] = {
    ("jump", "5-minute"): Tail(1.64, 0.02, 0.23, 0.488),
    ("jump", "hourly"): Tail(1.71, 0.02, 0.15, 0.493),
    ("jump", "daily"): Tail(1.48, 0.02, 0.11, 0.382),
    ("large_move", "5-minute"): Tail(4.99, 0.2, 0.35, 2.18, bend=DAILY_BEND),
    ("large_move", "hourly"): Tail(2.94, 0.2, 0.28, 1.13, bend=DAILY_BEND),
    ("large_move", "daily"): Tail(1.06, 0.2, 0.11, 0.61, bend=DAILY_BEND),
    ("residual", "5-minute"): Tail(1.81, 0.02, 0.2, 0.586),
    ("residual", "hourly"): Tail(1.96, 0.02, 0.24, 0.735),
    ("residual", "daily"): Tail(1.95, 0.02, 0.07, 0.881),
    ("market", "5-minute"): Tail(4.84, 0.2, 0.33, 2.06, bend=DAILY_BEND),
    ("market", "hourly"): Tail(2.81, 0.2, 0.22, 1.18, bend=DAILY_BEND),
    ("market", "daily"): Tail(1.06, 0.2, 0.17, 0.574, bend=DAILY_BEND),
}
