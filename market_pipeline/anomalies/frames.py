"""The public functions on DataFrames: `score_prices`, `detect_anomalies`, `calibrate`.

They convert and call `scoring`, `detect` and `learning`, which work on arrays. The scheduled path uses those directly
and never imports pandas.
"""

from __future__ import annotations

from dataclasses import fields
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_columns
from market_pipeline.anomalies.parameters import DEFAULT_SETTINGS, PARAMETERS, DetectionSettings
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.anomalies.scores.scoring import WORDS, score_columns, score_groups
from market_pipeline.anomalies.series import Floats
from market_pipeline.core.columns import Columns

if TYPE_CHECKING:
    import pandas as pd

_NEEDED = ("symbol", "timestamp", "price")


def score_prices(prices: pd.DataFrame, calibration: Calibration | None = None) -> pd.DataFrame:
    """Score each quote of `prices` (symbol, timestamp, price): one row per row, same order, same index.

    Timestamps are UTC (aware, or naive and taken as UTC, or ISO text); those of each symbol must increase strictly, in
    any interleaving of symbols. Prices are US dollars. Causal: a row's scores depend on quotes at or before its own
    time only. Without a calibration the hours are learned from the past within `prices` and the probabilities come from
    the prior.

    Columns (docs/anomalies.md has the formulas and their sources):

    - `jump_score`: -log10 of the predictive two-sided probability of the return since the last changed quote
      (log-stochastic-volatility filter in clock time); `jump_p`: its calibrated probability; `z`: the return in
      predictive standard deviations;
    - `expected_move`: one standard deviation over the same interval, as a return;
    - `large_move_score`: the largest move of the coin and of the market over the last return, 15 min, 1 h, 4 h and
      24 h, in units of volatility; `market_score`: that of the market alone; `large_move_days`, `market_days`: once in
      how many days such a score is reached;
    - `market_z`: median of the other coins' moves over the interval, in their standard deviations; `residual_z`,
      `residual_score`: the residual of a regression on it, and its -log10 p;
    - `scope`: market, idiosyncratic, mixed, or unknown with fewer than three coins;
    - `quality`: any of first, stale, warm_up, gap, comma separated.

    Raises ValueError if a column is missing, times do not increase or a price is not above zero.
    """
    import pandas as pd

    codes, symbols = _symbols_of(prices)
    order = np.argsort(codes, kind="stable")
    rows = np.split(order, np.searchsorted(codes[order], np.arange(1, len(symbols)))) if symbols else []
    groups = dict(zip(symbols, rows, strict=True))
    scores: dict[str, Any] = score_groups(groups, *_times_and_values(prices), calibration, details=False)
    words = {name: pd.Categorical.from_codes(scores[name], pd.Index(WORDS[name])) for name in WORDS}
    # Copies, so that changing the scores leaves the prices alone.
    given = {name: prices[name].array.copy() for name in _NEEDED}
    return pd.DataFrame({**given, **scores, **words}, index=prices.index, copy=False)


def detect_anomalies(
    prices: pd.DataFrame, calibration: Calibration | None = None, settings: DetectionSettings = DEFAULT_SETTINGS
) -> pd.DataFrame:
    """Return the flagged quotes of `prices` as rows of `price_anomalies`, by symbol, time and kind.

    `prices` as for `score_prices`. The columns are the fields of `Anomaly`; a market-wide move is one `market_move`
    row, whose members' rows carry its id as `event_id`. Raises ValueError like `score_prices`.
    """
    import pandas as pd

    anomalies = detect_columns(score_columns(_columns_of(prices), calibration), calibration, settings)
    names = [field.name for field in fields(Anomaly)]
    return pd.DataFrame([[getattr(row, name) for name in names] for row in anomalies], columns=names)


def calibrate(prices: pd.DataFrame, as_of: datetime | None = None) -> Calibration:
    """Calibrate from the quotes before `as_of` (aware; by default just after the last quote), of up to two years.

    `prices` as for `score_prices`. Raises ValueError like it, and if none of the quotes is of the last 90 days.
    """
    columns = _columns_of(prices)
    if as_of is None:
        if not len(columns):
            raise ValueError("there are no quotes to calibrate from; give as_of for an empty calibration")
        last: datetime = (columns["timestamp"].max() + np.timedelta64(1, "us")).astype(object)
        as_of = last.replace(tzinfo=timezone.utc)
    calibration = calibrate_columns(columns, as_of)
    if len(columns) and not calibration.coins:
        raise ValueError(
            f"none of the {len(columns):,} quotes lies in the {PARAMETERS.calibration_days} days before "
            f"{as_of.isoformat()}; give an as_of soon after the quotes to learn from"
        )
    return calibration


def _columns_of(prices: pd.DataFrame) -> Columns:
    """Return the rows with those of each symbol together."""
    codes, symbols = _symbols_of(prices)
    times, values = _times_and_values(prices)
    order = np.argsort(codes, kind="stable")
    names = np.array(symbols, dtype=object)[codes[order]]
    return Columns({"symbol": names, "timestamp": times[order], "price": values[order]})


def _symbols_of(prices: pd.DataFrame) -> tuple[NDArray[np.intp], list[str]]:
    """Return the number of each row's symbol, and the symbols."""
    import pandas as pd

    missing = [name for name in _NEEDED if name not in prices.columns]
    if missing:
        raise ValueError(f"prices has no column {', '.join(missing)}; it needs {', '.join(_NEEDED)}")
    codes, symbols = pd.factorize(prices["symbol"])
    if len(codes) and codes.min() < 0:
        raise ValueError(f"row {int((codes < 0).argmax())} of prices has no symbol")
    return codes, [str(symbol) for symbol in symbols]


def _times_and_values(prices: pd.DataFrame) -> tuple[NDArray[np.datetime64], Floats]:
    """Return times (UTC) and prices."""
    import pandas as pd

    times = pd.to_datetime(prices["timestamp"], utc=True).dt.tz_localize(None)
    return times.to_numpy().astype("datetime64[us]"), prices["price"].to_numpy(dtype=np.float64)
