"""How volatile each hour of the day usually is: factors around 1, from the past only.

Within each day log(abs(r) / sqrt(D)) of an hour is compared with the day's mean, and the differences
are averaged over past days. Logarithms keep jumps from mattering; the idea of scaling each day first
is Boudt, Croux & Laurent, J. Empirical Finance 18 (2011) 353.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.parameters import MINUTES_PER_DAY, PARAMETERS
from market_pipeline.anomalies.scores.returns import Floats, Returns

HOURS = 24
# Longer intervals do not tell one hour from the next.
_LONGEST = 90.0
# Up to this length an interval lies in the hour of its middle.
_SHORT = 15.0
# Variance of log(abs(z)) of a normal z, and of what a day's own swings add to an hour of it.
_LOG_NORMAL = np.pi**2 / 8
_DAY_SWINGS = 0.10


@dataclass(frozen=True)
class HourSums:
    """Per day (row) and hour: the sum of log sizes less the day's mean, and how many there were."""

    first_day: int
    deviations: Floats
    counts: Floats


def hour_sums(returns: Returns) -> HourSums:
    """What the returns of one symbol say, by UTC day and hour; a return belongs to the day it ended in."""
    usable = returns.changed & (returns.elapsed <= _LONGEST)
    usable[:1] = False
    day, hour = days_and_hours(returns)
    first = int(day[0]) if len(day) else 0
    days = int(day[-1]) - first + 1 if len(day) else 0
    key = ((day - first) * HOURS + hour)[usable]
    size = np.log(np.abs(returns.log_return[usable])) - 0.5 * np.log(returns.elapsed[usable])
    counts = np.bincount(key, minlength=days * HOURS).reshape(days, HOURS).astype(np.float64)
    # Without any returns it would count in whole numbers.
    sums = np.bincount(key, size, minlength=days * HOURS).reshape(days, HOURS).astype(np.float64)
    # The mean of hourly means: a day with more quotes at noon than at night is not louder for it.
    seen = counts > 0
    means = np.divide(sums, counts, out=np.zeros_like(sums), where=seen)
    daily = means.sum(axis=1, keepdims=True) / np.maximum(seen.sum(axis=1, keepdims=True), 1)
    return HourSums(first, np.where(seen, sums - counts * daily, 0.0), counts)


def factors(deviations: Floats, counts: Floats, days: Floats) -> Floats:
    """Factors (rows x 24, mean square 1) from summed deviations and counts over so many `days`.

    Shrunk towards 1 by how little is known.
    """
    noise = _LOG_NORMAL / np.maximum(counts, 1e-9) + _DAY_SWINGS / np.maximum(days, 1e-9)[:, None]
    known = PARAMETERS.hour_deviation**2
    logs = deviations / np.maximum(counts, 1.0) * (known / (known + noise))
    raw = np.exp(logs)
    scaled: Floats = raw / np.sqrt((raw**2).mean(axis=1, keepdims=True))
    return scaled


def running_factors(sums: HourSums) -> Floats:
    """The factors that were known at the start of each day, from up to `hour_days` days before it."""
    days = len(sums.counts)
    total = np.vstack([np.zeros(HOURS), np.cumsum(sums.deviations, axis=0)])
    count = np.vstack([np.zeros(HOURS), np.cumsum(sums.counts, axis=0)])
    start = np.maximum(np.arange(days) - PARAMETERS.hour_days, 0)
    seen = np.cumsum(np.concatenate([[0.0], (sums.counts.sum(axis=1) > 0)]))
    ends = np.arange(days)
    return factors(total[ends] - total[start], count[ends] - count[start], seen[ends] - seen[start])


def mean_squares(returns: Returns, table: Floats, first_day: int) -> Floats:
    """The mean of the squared factor over the interval of each return.

    `table` has a row of 24 factors per day from `first_day` on; a single row holds for all days.
    """
    day, hour = days_and_hours(returns)
    rows = np.zeros(len(day), dtype=np.intp) if len(table) == 1 else day - first_day
    squares = table**2
    means: Floats = squares.ravel()[rows * HOURS + hour]
    long = np.flatnonzero(returns.elapsed > _SHORT)
    if len(long):
        end = returns.minutes[long]
        spans = _integral(squares, rows[long], end) - _integral(
            squares, rows[long], end - returns.elapsed[long]
        )
        means[long] = spans / returns.elapsed[long]
    return means


def _integral(squares: Floats, rows: NDArray[np.intp], minutes: Floats) -> Floats:
    """The integral of the squared factor, repeated every day, from midnight 1970 to `minutes`."""
    cumulative = np.hstack([np.zeros((len(squares), 1)), np.cumsum(60 * squares, axis=1)])
    days, rest = np.divmod(minutes, MINUTES_PER_DAY)
    hour = np.minimum((rest // 60).astype(np.intp), HOURS - 1)
    inside: Floats = cumulative[rows, hour] + (rest - 60 * hour) * squares[rows, hour]
    total: Floats = days * cumulative[rows, HOURS] + inside
    return total


def days_and_hours(returns: Returns) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """UTC day number of each quote and the hour in which the middle of its interval lies."""
    day = np.floor(returns.minutes / MINUTES_PER_DAY).astype(np.intp)
    middle = returns.minutes - 0.5 * returns.elapsed
    within = middle - MINUTES_PER_DAY * np.floor(middle / MINUTES_PER_DAY)
    return day, np.minimum((within / 60).astype(np.intp), HOURS - 1)
