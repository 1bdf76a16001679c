"""Hour factors: how volatile each UTC hour usually is, around 1, from past days only.

Within each day log(abs(r) / sqrt(D)) of an hour is compared with the day's mean, and the differences are averaged over
past days. The logarithm makes it robust to jumps; normalising each day first follows Boudt, Croux & Laurent, J.
Empirical Finance 18 (2011) 353.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import MINUTES_PER_DAY, PARAMETERS
from market_pipeline.anomalies.scores.returns import Returns
from market_pipeline.anomalies.series import Floats

HOURS = 24
# Intervals longer than this (minutes) do not distinguish hours.
_LONGEST = 90.0
# Intervals up to this length (minutes) belong to the hour of their midpoint.
_SHORT = 15.0
# Variance of log(abs(z)) of a normal z, and of the daily swings of an hour.
_LOG_NORMAL = np.pi**2 / 8
_DAY_SWINGS = 0.10


@dataclass(frozen=True)
class HourSums:
    """Per day (row) and hour: the sum of log sizes less the day's mean, and their count."""

    first_day: int
    deviations: Floats
    counts: Floats


def hour_sums(returns: Returns) -> HourSums:
    """Sum the log sizes of the returns of one symbol by UTC day and hour; a return belongs to the day it ends in."""
    # The size of a single step tells nothing of the hour.
    usable = returns.fresh & (returns.coarse_step == 0) & (returns.elapsed <= _LONGEST)
    usable[:1] = False
    day, hour = days_and_hours(returns)
    first = int(day[0]) if len(day) else 0
    days = int(day[-1]) - first + 1 if len(day) else 0
    key = ((day - first) * HOURS + hour)[usable]
    size = np.log(np.abs(returns.log_return[usable])) - 0.5 * np.log(returns.elapsed[usable])
    counts = np.bincount(key, minlength=days * HOURS).reshape(days, HOURS).astype(np.float64)
    # astype: without any returns bincount gives integers.
    sums = np.bincount(key, size, minlength=days * HOURS).reshape(days, HOURS).astype(np.float64)
    # The mean of hourly means, so that hours with more quotes do not weigh more.
    seen = counts > 0
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=seen)
    daily = means.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return HourSums(first, np.where(seen, sums - counts * daily, 0.0), counts)


def factors(deviations: Floats, counts: Floats, days: Floats) -> Floats:
    """Return factors (rows x 24, mean square 1) from summed deviations and counts over `days`, shrunk towards 1."""
    noise = _LOG_NORMAL / np.maximum(counts, 1e-9) + _DAY_SWINGS / np.maximum(days, 1e-9)[:, None]
    known = PARAMETERS.hour_deviation**2
    logs = deviations / np.maximum(counts, 1.0) * (known / (known + noise))
    raw = np.exp(logs)
    scaled: Floats = raw / np.sqrt((raw**2).mean(axis=1, keepdims=True))
    return scaled


def running_factors(sums: HourSums) -> Floats:
    """Return the factors known at the start of each day, from up to `hour_days` days before it."""
    days = len(sums.counts)
    total = np.vstack([np.zeros(HOURS), np.cumsum(sums.deviations, axis=0)])
    count = np.vstack([np.zeros(HOURS), np.cumsum(sums.counts, axis=0)])
    start = np.maximum(np.arange(days) - PARAMETERS.hour_days, 0)
    seen = np.cumsum(np.concatenate([[0.0], (sums.counts.sum(axis=1) > 0)]))
    ends = np.arange(days)
    return factors(total[ends] - total[start], count[ends] - count[start], seen[ends] - seen[start])


def mean_squares(returns: Returns, table: Floats, first_day: int) -> Floats:
    """Return the mean of the squared factor over the interval of each return.

    `table` has a row of 24 factors per day from `first_day` on; a single row holds for all days.
    """
    day, hour = days_and_hours(returns)
    rows = np.zeros(len(day), dtype=np.intp) if len(table) == 1 else day - first_day
    squares = table**2
    means: Floats = squares.ravel()[rows * HOURS + hour]
    long = np.flatnonzero(returns.elapsed > _SHORT)
    if len(long):
        end, elapsed = returns.minutes[long], returns.elapsed[long]
        means[long] = (_integral(squares, rows[long], end) - _integral(squares, rows[long], end - elapsed)) / elapsed
    return means


def _integral(squares: Floats, rows: NDArray[np.intp], minutes: Floats) -> Floats:
    """Integrate the squared factor, repeated daily, from 1970 to `minutes`."""
    cumulative = np.hstack([np.zeros((len(squares), 1)), np.cumsum(60 * squares, axis=1)])
    days, rest = np.divmod(minutes, MINUTES_PER_DAY)
    hour = np.minimum((rest // 60).astype(np.intp), HOURS - 1)
    inside: Floats = cumulative[rows, hour] + (rest - 60 * hour) * squares[rows, hour]
    total: Floats = days * cumulative[rows, HOURS] + inside
    return total


def days_and_hours(returns: Returns) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the UTC day number of each quote and the hour of the midpoint of its interval."""
    day = np.floor(returns.minutes / MINUTES_PER_DAY).astype(np.intp)
    middle = returns.minutes - 0.5 * returns.elapsed
    within = middle - MINUTES_PER_DAY * np.floor(middle / MINUTES_PER_DAY)
    return day, np.minimum((within / 60).astype(np.intp), HOURS - 1)
