"""The three public functions, on DataFrames: scores, anomalies and calibration.

What they do is on arrays in `scoring`, `detect` and `learning`; the scheduled path uses those and
never imports pandas.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detection_settings import DetectionSettings
from market_pipeline.storage.columns import Columns

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("symbol", "timestamp", "price")


def score_prices(prices: pd.DataFrame, calibration: Calibration | None = None) -> pd.DataFrame:
    """The scores of each quote of `prices` (symbol, timestamp, price), one row per row, same order, same index.

    Timestamps are UTC (aware, or naive and taken as UTC, or ISO text); those of each symbol must
    increase strictly, whatever lies between its rows. Prices are US dollars. Causal: a row's scores
    depend on quotes at or before its own time only. Without a calibration the hours are learned from
    the past within `prices` and the probabilities are those of the prior.

    Columns (see docs/anomalies.md for the formulas and their sources):

    - `jump_score`: -log10 of the predictive two-sided probability of the return since the last changed
      quote (log-stochastic-volatility filter in clock time); `jump_p`: the same by how often such
      scores came in the past (the calibration), `z`: the return in predictive standard deviations;
    - `expected_move`: one standard deviation over exactly this interval, as a return;
    - `large_move_score`: largest move over the last return, 15 min, 1 h, 4 h and 24 h, each over slow
      volatility and the square root of time; `market_score`: the same of the market;
    - `market_z`: median of the other coins' moves over the interval, in their standard deviations;
      `residual_z`, `residual_score`: what is left without the market, and its -log10 p;
    - `scope`: market, idiosyncratic, mixed, or unknown with fewer than three coins;
    - `quality`: empty, or of first, stale, warm_up, gap, comma separated.

    Raises ValueError if a column is missing, times do not increase or a price is not above zero.
    """
    import pandas as pd

    columns, order = _columns_of(prices)
    from market_pipeline.anomalies.scoring import score_columns

    scores = score_columns(columns, calibration)
    arrays = dict(scores.arrays)
    if order is not None:
        arrays = {name: _back(values, order) for name, values in arrays.items()}
        for name in ("before", "large_move_before"):
            arrays[name] = np.where(arrays[name] >= 0, order[arrays[name]], -1)
    frame = pd.DataFrame({name: values for name, values in arrays.items() if name not in _NEEDED}, index=prices.index)
    for position, name in enumerate(_NEEDED):
        frame.insert(position, name, prices[name])
    return frame


def detect_anomalies(
    prices: pd.DataFrame,
    calibration: Calibration | None = None,
    settings: DetectionSettings | None = None,
) -> pd.DataFrame:
    """The flagged quotes of `prices` as rows of the table `price_anomalies`, by symbol, time and kind.

    `prices` as for `score_prices`. The columns are the fields of `Anomaly`; a market-wide move is one
    `market_move` row, whose members' rows carry its id as `event_id`. Raises ValueError like `score_prices`.
    """
    import pandas as pd

    from market_pipeline.anomalies.detect import detect_columns
    from market_pipeline.anomalies.scoring import score_columns

    columns, _ = _columns_of(prices)
    found = detect_columns(score_columns(columns, calibration), calibration, settings or DetectionSettings())
    names = [field.name for field in fields(Anomaly)]
    return pd.DataFrame([[getattr(row, name) for name in names] for row in found], columns=names)


def calibrate(prices: pd.DataFrame, as_of: datetime | None = None) -> Calibration:
    """What is usual, from the quotes of the 90 days before `as_of` (aware; by default just after the last quote).

    Hour factors, the level of each coin, and the tails of the scores (see `Calibration`). `prices` as for
    `score_prices`. Raises ValueError like it, and if there are no quotes to tell `as_of`.
    """
    from market_pipeline.anomalies.learning import calibrate_columns
    from market_pipeline.anomalies.series import to_datetime

    columns, _ = _columns_of(prices)
    if as_of is None:
        if not len(columns):
            raise ValueError("there are no quotes to calibrate from; give as_of for an empty calibration")
        as_of = to_datetime(columns["timestamp"].max() + np.timedelta64(1, "us"))
    return calibrate_columns(columns, as_of)


def _columns_of(prices: pd.DataFrame) -> tuple[Columns, np.ndarray | None]:
    """The rows with those of each symbol together, and their former places; None if they were together."""
    import pandas as pd

    missing = [name for name in _NEEDED if name not in prices.columns]
    if missing:
        raise ValueError(f"prices has no column {', '.join(missing)}; it needs {', '.join(_NEEDED)}")
    codes, symbols = pd.factorize(prices["symbol"])
    if len(codes) and codes.min() < 0:
        raise ValueError(f"row {int((codes < 0).argmax())} of prices has no symbol")
    times = pd.to_datetime(prices["timestamp"], utc=True).dt.tz_localize(None)
    arrays = {
        "timestamp": times.to_numpy().astype("datetime64[us]"),
        "price": prices["price"].to_numpy(dtype=np.float64),
    }
    names = np.asarray(symbols, dtype=object)
    if (codes[1:] >= codes[:-1]).all():
        return Columns({"symbol": names[codes], **arrays}), None
    order = np.argsort(codes, kind="stable")
    sorted_arrays = {name: values[order] for name, values in arrays.items()}
    return Columns({"symbol": names[codes[order]], **sorted_arrays}), order


def _back(values: np.ndarray, order: np.ndarray) -> np.ndarray:
    placed = np.empty_like(values)
    placed[order] = values
    return placed
