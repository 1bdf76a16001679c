"""Detectors of libraries on log returns, at their default settings: PyOD's ECOD and IForest, river's trees.

ECOD and IForest are fitted on the series they score, as their documentation does, so they see the future;
HalfSpaceTrees learns as it goes.
"""

import warnings

import numpy as np

from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.worlds import Floats

_HISTORY = 1_000  # quotes whose range is taken for the trees, before which they score 0


def ecod(minutes: Floats, prices: Floats) -> Floats:
    """Empirical tail probability of the return (Li et al. 2022)."""
    from pyod.models.ecod import ECOD

    return _fitted(ECOD(), prices)


def isolation_forest(minutes: Floats, prices: Floats) -> Floats:
    """How few random cuts isolate the return (Liu, Ting & Zhou 2008)."""
    from pyod.models.iforest import IForest

    return _fitted(IForest(random_state=1), prices)


def half_space_trees(minutes: Floats, prices: Floats) -> Floats:
    """Streaming trees on the return (Tan, Ting & Liu 2011), scaled by the range of the first quotes.

    The trees want values from 0 to 1: the return is mapped through a logistic function of its size in
    standard deviations of the first quotes, which keeps the order of the largest moves.
    """
    from river.anomaly import HalfSpaceTrees

    moves = returns(prices)
    scale = max(float(np.std(moves[:_HISTORY])), 1e-12)
    values = 1 / (1 + np.exp(-moves / (3 * scale)))
    trees = HalfSpaceTrees(n_trees=10, seed=1, limits={"move": (0.0, 1.0)})
    scores = np.zeros(len(prices))
    for i, value in enumerate(values.tolist()):
        sample = {"move": value}
        if i >= _HISTORY:
            scores[i] = trees.score_one(sample)
        trees.learn_one(sample)
    return scores


def _fitted(model: object, prices: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(returns(prices)[:, None])  # type: ignore[attr-defined]
    scores: Floats = np.asarray(model.decision_scores_, dtype=np.float64)  # type: ignore[attr-defined]
    return scores
