"""Whose move it was: the market's, the coin's own, or both."""

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.returns import Floats

SCOPES = ("unknown", "market", "mixed", "idiosyncratic")


def market_ratio(market_z: Floats, z: Floats) -> Floats:
    """How far the market moved for each standard deviation of the coin; NaN where either is not known."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio: Floats = np.where(z != 0, market_z / z, np.nan)
    return ratio


def scope_of(ratio: Floats) -> NDArray[np.int8]:
    """The numbers of the `SCOPES` by the `market_ratio`."""
    with np.errstate(invalid="ignore"):
        below = (ratio < PARAMETERS.market_ratio).astype(np.int8) + (ratio <= PARAMETERS.idiosyncratic_ratio)
        codes: NDArray[np.int8] = (ratio == ratio) * (1 + below)
    return codes
