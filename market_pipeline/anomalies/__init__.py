"""Anomaly detection: scores of every quote, rules that flag some of them, and explanations.

`score_prices`, `detect_anomalies` and `calibrate` take DataFrames. Everything below them works on arrays, with NumPy
and `core` only: no storage, no Dagster, and pandas only inside `frames`.
"""

from datetime import timedelta
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from market_pipeline.anomalies.frames import calibrate, detect_anomalies, score_prices

__all__ = ["LEAD_DAYS", "MORNING", "PAST_DAYS", "calibrate", "detect_anomalies", "score_prices"]

# A day is scored with its own quotes and those of this many days before it.
LEAD_DAYS = 7
# Its rows depend on one day more: the scoring of the day before tells what went on over midnight.
PAST_DAYS = LEAD_DAYS + 1
# A day is also scored with the quotes of so long after its end: a confirmation takes up to the first one after four
# hours.
MORNING = timedelta(hours=4, minutes=10)


def __getattr__(name: str) -> Any:
    # On first use: the modules that only need LEAD_DAYS should not pay for NumPy.
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from market_pipeline.anomalies import frames

    return getattr(frames, name)
