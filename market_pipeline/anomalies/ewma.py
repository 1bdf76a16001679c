"""The EWMA score: how many standard deviations a return is, for the time it took."""

import numpy as np

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.detector import flag, simple_moves
from market_pipeline.anomalies.explain import against_usual
from market_pipeline.anomalies.series import PriceSeries
from market_pipeline.anomalies.volatility import changed_returns, expected_moves, volatility_before

# On real 5-minute prices of five coins 7 gives 0.27 (2022-10/11) and 0.39 (first half of 2023)
# episodes per symbol-day, 6 gives 0.51 and 0.61: see docs/decisions/0001-ewma-threshold.md.
THRESHOLD = 7.0


class EwmaScore:
    """abs(log return) / (volatility * sqrt(elapsed seconds)) >= 7, unchanged quotes skipped.

    The volatility is that of earlier returns only, so a move does not hide in it.
    """

    name = "ewma"

    def detect(self, series: PriceSeries) -> list[Anomaly]:
        returns = changed_returns(series)
        volatility = volatility_before(returns)
        scores = np.abs(returns.log_return) / (volatility * np.sqrt(returns.seconds))
        flagged = np.flatnonzero(scores >= THRESHOLD)
        before, after = returns.before[flagged], returns.after[flagged]
        rows = zip(
            before.tolist(),
            after.tolist(),
            scores[flagged].tolist(),
            simple_moves(series, before, after).tolist(),
            expected_moves(volatility[flagged], returns.seconds[flagged]).tolist(),
            strict=True,
        )
        return [
            flag(
                series,
                start,
                end,
                detector=self.name,
                score=score,
                threshold=THRESHOLD,
                move=move,
                expected_move=expected_move,
                reason=against_usual(move, expected_move),
            )
            for start, end, score, move, expected_move in rows
        ]
