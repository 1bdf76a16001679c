"""An anomaly: one flagged move between two quotes, as a row of the `price_anomalies` table."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class Anomaly:
    """One flagged move; the fields are the columns of `price_anomalies`, in their order.

    `timestamp` and `timestamp_before` (aware UTC) are the times of the quotes after and before the
    move. Prices are US dollars. `move` is a simple return (0.05 is +5 %). `expected_move` is one
    standard deviation of the simple return over exactly `elapsed_seconds`, None where too little
    history is known. `score` and `threshold` are in the detector's own units.
    """

    symbol: str
    timestamp: datetime
    detector: str
    score: float
    threshold: float
    direction: str
    price_before: float
    timestamp_before: datetime
    price_after: float
    move: float
    expected_move: float | None
    elapsed_seconds: float
    explanation: str
