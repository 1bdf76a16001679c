"""Scores as probabilities: by the tails of the calibration, or of the prior where it has none."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.scores.prior_tails import PRIOR_TAILS
from market_pipeline.anomalies.scores.returns import Floats


def probabilities(
    symbol: str, scores: Mapping[str, Floats], long: NDArray[np.bool_], calibration: Calibration | None
) -> tuple[dict[str, Floats], NDArray[np.bool_]]:
    """The calibrated probability of each score, and where that of the jump score rests on the past."""
    found = {name: np.ones(len(values)) for name, values in scores.items()}
    from_past = np.zeros(len(long), dtype=np.bool_)
    for interval, rows in (("short", ~long), ("long", long)):
        if not rows.any():
            continue
        for name, values in scores.items():
            tail = calibration.tail(symbol, name, interval) if calibration else None
            found[name][rows] = (tail or PRIOR_TAILS[name, interval]).probability(values[rows])
            if name == "jump":
                from_past[rows] = tail is not None
    return found, from_past
