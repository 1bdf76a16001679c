"""Detectors of libraries on log returns, at their default settings: PyOD's ECOD and IForest, river's trees.

ECOD and IForest are fitted on the series they score, as their documentation does, so they see the future;
HalfSpaceTrees learns as it goes.
"""

import warnings
from typing import Any

import numpy as np

from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.volatility import Floats

_HISTORY = 1_000  # quotes that the trees learn from before they score


def ecod(minutes: Floats, prices: Floats) -> Floats:
    """Empirical tail probability of the return (Li et al. 2022)."""
    from pyod.models.ecod import ECOD

    return _fitted(ECOD(), prices)


def isolation_forest(minutes: Floats, prices: Floats) -> Floats:
    """How few random cuts isolate the return (Liu, Ting & Zhou 2008)."""
    from pyod.models.iforest import IForest

    return _fitted(IForest(random_state=1), prices)


def half_space_trees(minutes: Floats, prices: Floats) -> Floats:
    """Streaming trees on the return (Tan, Ting & Liu 2011), scaled to 0..1 by its range so far."""
    from river.anomaly import HalfSpaceTrees
    from river.compose import Pipeline
    from river.preprocessing import MinMaxScaler

    model = Pipeline(MinMaxScaler(), HalfSpaceTrees(seed=1))
    scores = np.zeros(len(prices))
    for i, move in enumerate(returns(prices).tolist()):
        sample = {"move": move}
        if i >= _HISTORY:
            scores[i] = model.score_one(sample)
        model.learn_one(sample)
    return scores


def _fitted(model: Any, prices: Floats) -> Floats:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(returns(prices)[:, None])
    scores: Floats = np.asarray(model.decision_scores_, dtype=np.float64)
    return scores
