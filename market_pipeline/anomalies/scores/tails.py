"""Score tails: how often a score occurred in the past, and what that implies for larger ones.

Beyond a high quantile u the excesses follow a generalised Pareto distribution (Pickands 1975), fitted by
probability-weighted moments (Hosking & Wallis 1987), as in Siffer et al., KDD 2017:

    P(score > s) = share * (1 + shape * (s - u) / scale) ** (-1 / shape)
"""

import math
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import LEAST_P, PARAMETERS
from market_pipeline.anomalies.series import Floats

# Fitted shapes are clipped to this range: a few excesses say little about the far tail.
_LIGHTEST, _HEAVIEST = -0.3, 0.6


@dataclass(frozen=True)
class Tail:
    """`share` of the scores lay above `threshold`; the excesses have this `shape` and `scale`."""

    threshold: float
    share: float
    shape: float
    scale: float
    scores: int

    def probability(self, scores: Floats) -> Floats:
        """Return the probability of a score at least as large; below the threshold log-linear."""
        p: Floats = np.exp(scores * (math.log(self.share) / self.threshold))
        beyond = np.flatnonzero(scores > self.threshold)
        excess = (scores[beyond] - self.threshold) / self.scale
        if abs(self.shape) < 1e-6:
            left = np.exp(-excess)
        else:
            left = np.maximum(1 + self.shape * excess, LEAST_P) ** (-1 / self.shape)
        p[beyond] = np.maximum(self.share * left, LEAST_P)
        return p


def fit(scores: Floats, least: int) -> Tail | None:
    """Fit the tail of at least `least` scores; None if there are fewer or they do not vary.

    By probability-weighted moments, which stay unbiased where ordinary moments of heavy tails do not.
    """
    if len(scores) < least:
        return None
    threshold = float(np.quantile(scores, PARAMETERS.tail_quantile))
    excess = np.sort(scores[scores > threshold]) - threshold
    if threshold <= 0 or len(excess) < 2 or excess[-1] <= 0:
        return None
    mean = float(excess.mean())
    above = 1 - (np.arange(1, len(excess) + 1) - 0.35) / len(excess)
    weighted = float((excess * above).mean())
    shape = min(max(2 - mean / (mean - 2 * weighted), _LIGHTEST), _HEAVIEST)
    # This scale preserves the mean where the shape was clipped.
    return Tail(threshold, len(excess) / len(scores), shape, mean * (1 - shape), len(scores))


SCORES = ("jump", "large_move", "residual", "market")

# Where too little history is known: from 5-minute and hourly prices of BTC, ETH, SOL, ADA and DOT, early 2023, a little
# heavier than fitted (docs/decisions/0008); residuals as fitted to 2020-12 to 2024-11, as their tails hardly differ
# between coins and years (0028).
PRIOR_TAILS = {
    ("jump", "short"): Tail(1.8, 0.02, 0.25, 0.7, 0),
    ("jump", "long"): Tail(2.0, 0.02, 0.2, 0.7, 0),
    ("large_move", "short"): Tail(6.0, 0.02, 0.3, 2.0, 0),
    ("large_move", "long"): Tail(5.5, 0.02, 0.3, 1.8, 0),
    ("residual", "short"): Tail(1.84, 0.02, 0.21, 0.61, 0),
    ("residual", "long"): Tail(1.98, 0.02, 0.24, 0.76, 0),
    ("market", "short"): Tail(5.0, 0.02, 0.3, 1.6, 0),
    ("market", "long"): Tail(4.8, 0.02, 0.25, 1.4, 0),
}
