"""What a detector is, and how the two quotes of a flagged move become an `Anomaly`."""

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.explain import describe_move
from market_pipeline.anomalies.series import PriceSeries

# The quotient of two prices can exceed what a float holds; infinity must not reach the database.
_LARGEST_MOVE = 1e300


class Detector(Protocol):
    """A rule that flags moves. Causal: a flag depends on its own quote and earlier ones only."""

    @property
    def name(self) -> str:
        """What the `detector` column says."""
        ...

    def detect(self, series: PriceSeries) -> list[Anomaly]:
        """The flagged moves of `series`, in time order."""
        ...


def simple_moves(
    series: PriceSeries, before: NDArray[np.intp], after: NDArray[np.intp]
) -> NDArray[np.float64]:
    """The simple returns (0.05 is +5 %) between quotes number `before` and `after`; always finite."""
    with np.errstate(over="ignore"):
        moves: NDArray[np.float64] = series.prices[after] / series.prices[before] - 1
    return np.minimum(moves, _LARGEST_MOVE)


def flag(
    series: PriceSeries,
    before: int,
    after: int,
    *,
    detector: str,
    score: float,
    threshold: float,
    move: float,
    expected_move: float,
    reason: str,
) -> Anomaly:
    """The move of `series` between quotes number `before` and `after` as an anomaly.

    `expected_move` may be NaN for unknown. `reason` ends the explanation: what the move was
    compared with.
    """
    price_before, price_after = float(series.prices[before]), float(series.prices[after])
    start, end = series.time(before), series.time(after)
    sentence = describe_move(series.symbol, move, price_before, price_after, start, end)
    return Anomaly(
        symbol=series.symbol,
        timestamp=end,
        detector=detector,
        score=score,
        threshold=threshold,
        direction="up" if price_after > price_before else "down",
        price_before=price_before,
        timestamp_before=start,
        price_after=price_after,
        move=move,
        expected_move=None if math.isnan(expected_move) else expected_move,
        elapsed_seconds=(end - start).total_seconds(),
        explanation=f"{sentence}, {reason}.",
    )
