"""Score tails: how often a score came in the past, and what that says of larger ones.

Beyond a high quantile u the excesses follow a generalised Pareto distribution (Pickands 1975), fitted
by moments (Hosking & Wallis 1987); used for thresholds as in Siffer et al., KDD 2017:

    P(score > s) = share * (1 + shape * (s - u) / scale) ** (-1 / shape)
"""

import math
from dataclasses import dataclass

import numpy as np

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.returns import Floats

# Moments exist below a shape of 1/2; a tail heavier than this is not believed.
_HEAVIEST = 0.45
_LEAST = 1e-300


@dataclass(frozen=True)
class Tail:
    """`share` of the scores lay above `threshold`; the excesses have this `shape` and `scale`."""

    threshold: float
    share: float
    shape: float
    scale: float
    scores: int

    def probability(self, scores: Floats) -> Floats:
        """The probability of a score at least as large; below the threshold by straight lines in its logarithm."""
        body = np.exp(np.minimum(scores / self.threshold, 1.0) * math.log(self.share))
        excess = np.maximum(scores - self.threshold, 0.0) / self.scale
        if abs(self.shape) < 1e-6:
            beyond = np.exp(-excess)
        else:
            beyond = np.maximum(1 + self.shape * excess, _LEAST) ** (-1 / self.shape)
        p: Floats = np.maximum(body * beyond, _LEAST)
        return p


def fit(scores: Floats) -> Tail | None:
    """The tail of many scores, or None if there are too few or they do not vary."""
    if len(scores) < PARAMETERS.tail_scores:
        return None
    threshold = float(np.quantile(scores, PARAMETERS.tail_quantile))
    excess = scores[scores > threshold] - threshold
    mean, variance = float(excess.mean()), float(excess.var())
    if threshold <= 0 or mean <= 0 or variance <= 0:
        return None
    ratio = mean * mean / variance
    shape = min(0.5 * (1 - ratio), _HEAVIEST)
    # The scale keeps the mean where the shape was held back.
    return Tail(threshold, len(excess) / len(scores), shape, mean * (1 - shape), len(scores))
