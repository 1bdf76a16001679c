"""The package's own detectors behind the interface of the rivals."""

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.anomalies.volatility import Floats

if TYPE_CHECKING:
    import pandas as pd

_DAY = 1440.0
_LEAD_DAYS = 90  # that a stretch is scored together with
_REFRESH_DAYS = 28


def jump(minutes: Floats, prices: Floats) -> Floats:
    """`jump_score` of one pass over the series, with no calibration."""
    return _plain(minutes.tobytes(), prices.tobytes())[0]


def large_move(minutes: Floats, prices: Floats) -> Floats:
    """`large_move_score` of one pass over the series."""
    return _plain(minutes.tobytes(), prices.tobytes())[1]


def jump_calibrated(minutes: Floats, prices: Floats) -> Floats:
    """`jump_score` with what was known at the time: calibrated every 4 weeks."""
    frame = as_frame({"A": (minutes, prices)})
    parts = [part["jump_score"].to_numpy(np.float64) for part in with_past_calibration(frame, _REFRESH_DAYS)]
    scores: Floats = np.nan_to_num(np.concatenate(parts))
    return scores


def as_frame(series: Mapping[str, tuple[Floats, Floats]]) -> "pd.DataFrame":
    """The frame that the package takes, `symbol, timestamp, price`, ordered by symbol and time."""
    import pandas as pd

    frames = []
    for symbol, (minutes, prices) in series.items():
        timestamps = pd.to_datetime(np.round(minutes * 60e6).astype(np.int64), unit="us", utc=True)
        frames.append(pd.DataFrame({"symbol": symbol, "timestamp": timestamps, "price": prices}))
    return pd.concat(frames, ignore_index=True)


def with_past_calibration(
    frame: "pd.DataFrame", refresh_days: int, lead_days: int = _LEAD_DAYS
) -> Iterator["pd.DataFrame"]:
    """The scored rows in stretches of `refresh_days`, each with the calibration of what was known before it.

    A stretch is scored together with the `lead_days` before it; the first has neither.
    """
    import pandas as pd

    from market_pipeline.anomalies import calibrate, score_prices

    times = frame["timestamp"]
    start, last = times.min(), times.max()
    while start <= last:
        end = start + pd.Timedelta(days=refresh_days)
        past = frame[times < start]
        rows = frame[(times < end) & (times >= start - pd.Timedelta(days=lead_days))]
        scored = score_prices(rows.reset_index(drop=True), calibrate(past) if len(past) else None)
        yield scored[scored["timestamp"] >= start]
        start = end


@lru_cache(maxsize=2)
def _plain(minutes: bytes, prices: bytes) -> tuple[Floats, Floats]:
    """Both scores of one pass; kept, as the two rows of a table ask for them one after the other."""
    from market_pipeline.anomalies import score_prices

    scored = score_prices(as_frame({"A": (np.frombuffer(minutes), np.frombuffer(prices))}))
    columns = ("jump_score", "large_move_score")
    both = [np.nan_to_num(scored[column].to_numpy(np.float64)) for column in columns]
    return both[0], both[1]
