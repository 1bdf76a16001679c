"""The two-point rule: two consecutive quotes that differ by 5 % or more."""

import numpy as np

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detector import flag, simple_moves
from market_pipeline.anomalies.explain import against_limit
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.anomalies.volatility import changed_returns, expected_moves, volatility_before

LIMIT = 0.05


class TwoPointMove:
    """abs(price_after / price_before - 1) >= 5 %, however far the two quotes are apart.

    The score is that absolute move.
    """

    name = "two_point"

    def detect(self, series: PriceSeries) -> list[Anomaly]:
        after = np.arange(1, len(series))
        moves = simple_moves(series, after - 1, after)
        flagged = np.abs(moves) >= LIMIT
        if not flagged.any():
            return []
        after, moves = after[flagged], moves[flagged]
        returns = changed_returns(series)
        # A quote that moved is a changed quote, so each flagged one is found among the returns.
        volatility = volatility_before(returns)[np.searchsorted(returns.after, after)]
        expected = expected_moves(volatility, series.seconds_between(after - 1, after))
        return [
            flag(
                series,
                position - 1,
                position,
                detector=self.name,
                score=abs(move),
                threshold=LIMIT,
                move=move,
                expected_move=expected_move,
                reason=against_limit(LIMIT),
            )
            for position, move, expected_move in zip(
                after.tolist(), moves.tolist(), expected.tolist(), strict=True
            )
        ]
