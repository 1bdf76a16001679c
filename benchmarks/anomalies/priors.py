"""Fit the priors of the package's tails on real prices: `python -m benchmarks.anomalies.priors [FOLDER]`.

The constants of `market_pipeline/anomalies/scores/tails.py` and the multiples of `floor` come from here. `fit` takes
any of the files, so that each can be judged with priors fitted on the others.
"""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from benchmarks.anomalies.prices import FOLDER, Bars, by_file, load
from benchmarks.anomalies.volatility import Floats
from market_pipeline.anomalies.calibration import Calibration, long_volatility
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.daily_peaks import daily_peaks
from market_pipeline.anomalies.scores.learning import calibrate_columns
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.anomalies.scores.tails import DAILY_BEND, PEAKS, SCORES, Tail
from market_pipeline.anomalies.scores.tails import fit as fit_tail
from market_pipeline.anomalies.series import CADENCES, rows_by_symbol
from market_pipeline.core.columns import Columns

# Each cadence takes every so many of the 5-minute prices.
_STEPS = {"5-minute": 1, "hourly": 12, "daily": 288}
# Days at the start of a file whose scores are not settled.
_SETTLING = {"5-minute": 14, "hourly": 14, "daily": 40}
_HORIZONS = (5, 15, 60, 240, 1440)


@dataclass(frozen=True)
class Priors:
    """The tails by (score, cadence), the share of quotes beyond a day's level by cadence, the floors' multiples."""

    tails: Mapping[tuple[str, str], Tail]
    time_beyond: Mapping[str, tuple[float, float]]
    weekly: tuple[float, ...]


def fit(files: Sequence[Sequence[Bars]]) -> Priors:
    """Fit the priors on some of the files."""
    tails: dict[tuple[str, str], Tail] = {}
    beyond = {}
    weekly: list[Floats] = []
    for cadence in CADENCES:
        pieces: dict[str, list[Floats]] = {score: [] for score in SCORES}
        peaks: dict[str, list[Floats]] = {score: [] for score in PEAKS}
        for bars in files:
            prices = _columns(bars, _STEPS[cadence])
            scores, highest = _scored(prices, cadence)
            for score in SCORES:
                known = np.isfinite(scores["market_z"]) if score in ("residual", "market") else slice(None)
                pieces[score].append(scores[f"{score}_score"][known])
            _, day = np.unique(highest["day"], return_inverse=True)
            market = np.zeros(int(day.max()) + 1)
            np.maximum.at(market, day, highest["market"])
            peaks["large_move"].append(highest["large_move"])
            peaks["market"].append(market[market > 0])
            if cadence == "5-minute":
                weekly.append(_weekly(bars, calibrate_columns(prices, _end(prices))))
        for score in SCORES:
            counted = peaks if score in PEAKS else pieces
            quantile = PARAMETERS.peak_quantile if score in PEAKS else PARAMETERS.tail_quantile
            tail = fit_tail(np.concatenate(counted[score]), quantile, 0.0, DAILY_BEND if score in PEAKS else 1.0)
            if tail is not None:
                tails[score, cadence] = tail
        beyond[cadence] = _time_beyond(np.concatenate(peaks["large_move"]), np.concatenate(pieces["large_move"]))
    return Priors(tails, beyond, tuple(np.median(np.concatenate(weekly), axis=0).tolist()))


def _columns(bars: Sequence[Bars], step: int) -> Columns:
    parts = [
        {
            "symbol": np.full(len(one.prices[step - 1 :: step]), one.symbol, dtype=object),
            "timestamp": np.round(one.minutes[step - 1 :: step] * 60e6).astype(np.int64).view("datetime64[us]"),
            "price": one.prices[step - 1 :: step],
        }
        for one in bars
    ]
    return Columns({name: np.concatenate([part[name] for part in parts]) for name in parts[0]})


def _scored(prices: Columns, cadence: str) -> tuple[Columns, Columns]:
    """Return the scores of every four weeks with what was known before, and the peaks of their days."""
    start = prices["timestamp"].min()
    first = _datetime(start).replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=_SETTLING[cadence])
    last = _datetime(prices["timestamp"].max())
    scores, peaks = [], []
    while first < last:
        calibration: Calibration = calibrate_columns(prices, first)
        end = first + timedelta(days=14)
        lead = 40 if cadence == "daily" else 7
        rows = score_columns(prices.between(first - timedelta(days=lead), end), calibration)
        inside = rows.between(first, end)
        highest = daily_peaks(rows, rows_by_symbol(rows["symbol"]))
        scores.append(inside)
        peaks.append(highest.where(highest["day"] >= np.datetime64(first.date())))
        first = end
    names = ("market_z", *(f"{score}_score" for score in SCORES))
    joined = Columns({name: np.concatenate([part[name] for part in scores]) for name in names})
    return joined, Columns({name: np.concatenate([part[name] for part in peaks]) for name in peaks[0].arrays})


def _datetime(moment: np.datetime64) -> datetime:
    found: datetime = moment.astype("datetime64[us]").item()
    return found.replace(tzinfo=timezone.utc)


def _time_beyond(peaks: Floats, scores: Floats) -> tuple[float, float]:
    """Fit share of quotes / share of days = least + more * share of days over the range that alarms need."""
    days = np.array([0.2, 0.1, 0.05, 0.033, 0.02, 0.01])
    levels = np.quantile(peaks, 1 - days)
    ratio = np.array([(scores > level).mean() for level in levels]) / days
    more, least = np.polyfit(days, ratio, 1, w=1 / ratio)
    return float(least), float(more)


def _end(prices: Columns) -> datetime:
    return _datetime(prices["timestamp"].max()) + timedelta(microseconds=1)


def _weekly(bars: Sequence[Bars], calibration: Calibration) -> Floats:
    """Return for each coin the size of moves that days exceed once a week, in standard deviations over the horizon."""
    rows = []
    for one in bars:
        path, clock = np.log(one.prices), one.minutes
        rate = long_volatility(calibration, one.symbol)
        day = (clock // 1440).astype(np.int64)
        sizes = []
        for horizon in _HORIZONS:
            start = np.maximum(np.searchsorted(clock, clock - horizon, "right") - 1, 0)
            move = np.abs(path - path[start])
            highest = np.maximum.reduceat(move, np.concatenate([[0], np.flatnonzero(np.diff(day)) + 1]))
            sizes.append(np.quantile(highest[2:], 6 / 7) / (rate * np.sqrt(horizon)))
        rows.append(sizes)
    return np.array(rows).reshape(-1, len(_HORIZONS))


def main() -> None:
    """Print the priors of all files."""
    files = by_file(load(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER))
    if not files:
        sys.exit("There are no real prices to fit on.")
    priors = fit(list(files.values()))
    for (score, cadence), tail in priors.tails.items():
        numbers = f"{tail.threshold:.3g}, {tail.share:.3g}, {tail.shape:.2f}, {tail.scale:.3g}"
        sys.stdout.write(f'    ("{score}", "{cadence}"): Tail({numbers}),  # {tail.excesses} excesses\n')
    sys.stdout.write(f"time beyond: {priors.time_beyond}\nweekly: {priors.weekly}\n")


if __name__ == "__main__":
    main()
