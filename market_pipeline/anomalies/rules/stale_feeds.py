"""Stale feeds: no quotes, or an unchanged price, for far longer than usual.

One row for each stretch between two changes of the price, at the first quote that shows it: the quote that ends the
gap, or the unchanged quote that passes the limit. The limit is 15 minutes or 5 times the median of the symbol's last 48
gaps, whichever is longer.

Hourly quotes are all that the source has of older days. A gap of up to about an hour beside one of about an hour is
therefore hourly history, or its seam with the live feed, and no stale feed. An unchanged price must be improbable: for
a coin with a coarse price it is normal.
"""

import math
from statistics import median

import numpy as np

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import LEAST_P, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate
from market_pipeline.anomalies.rules.score_table import MICROSECONDS, MINUTE, ScoreTable

_GAPS = 48
_FEWEST_GAPS = 3
_CHANGES = 200
_HOURLY = (50 * MINUTE, 70 * MINUTE)
_IMPROBABLE = 1e-6


def find_stale_feeds(table: ScoreTable, settings: DetectionSettings) -> list[Candidate]:
    """Return the stale stretches of all symbols, by position."""
    stretches: dict[int, Candidate] = {}
    for at in _suspects(table, settings):
        start = int(table["before"][at])
        if start not in stretches and (candidate := _judge(table, at, start, settings)) is not None:
            stretches[start] = candidate
    return sorted(stretches.values(), key=lambda candidate: candidate.at)


def usual_gap(table: ScoreTable, at: int) -> float:
    """Return the median of the last 48 gaps before the quote at `at`, seconds; NaN if fewer than three are known."""
    first = max(int(table.starts[table.code(at)]), at - _GAPS - 1)
    gaps = np.diff(table.moments[first:at]).tolist()
    return median(gaps) / MICROSECONDS if len(gaps) >= _FEWEST_GAPS else math.nan


def _suspects(table: ScoreTable, settings: DetectionSettings) -> list[int]:
    """Return the quotes after a gap or an unchanged stretch that could be too long."""
    gaps = np.diff(table.moments, prepend=table.moments[:1])
    gaps[table.starts[:-1]] = 0
    hourly = (gaps > _HOURLY[0]) & (gaps < _HOURLY[1])
    beside = np.zeros_like(hourly)
    beside[1:] |= hourly[:-1]
    beside[:-1] |= hourly[1:]
    history = beside & (gaps < _HOURLY[1])
    long = (gaps > settings.stale_minutes * MINUTE) & ~history
    still = (table["stale_minutes"] > settings.stale_minutes) & ~history
    suspects: list[int] = np.flatnonzero((long | still) & (table["before"] >= 0)).tolist()
    return suspects


def _judge(table: ScoreTable, at: int, start: int, settings: DetectionSettings) -> Candidate | None:
    """Return the stale feed since the changed quote at `start`, as known with the quote at `at`."""
    usual = usual_gap(table, at)
    if math.isnan(usual):
        return None
    limit = max(settings.stale_minutes, settings.stale_gaps * usual / 60)
    gap = table.seconds(at - 1, at) / 60
    if gap > limit:
        return Candidate(Kind.STALE_FEED, at, at - 1, gap, limit)
    still = table.number("stale_minutes", at)
    if still <= limit:
        return None
    probability = _unchanged_probability(table, start, at)
    if not probability < _IMPROBABLE:
        return None
    return Candidate(Kind.STALE_FEED, at, start, still, limit, p_raw=probability)


def _unchanged_probability(table: ScoreTable, start: int, at: int) -> float:
    """Return how probable it is that a moving price rounds to the same value at each quote after `start`.

    A price uniform in an interval of width w is in it again after a normal step of deviation s with probability
    erf(a / sqrt 2) - sqrt(2 / pi) / a (1 - exp(-a^2 / 2)), a = w / s; w is the price step and each quote is a step. NaN
    if nothing is known.
    """
    first = max(int(table.starts[table.code(start)]), start - _CHANGES)
    steps = np.abs(np.diff(table["price"][first : start + 1]))
    steps = steps[steps > 0]
    if not len(steps):
        return math.nan
    width = float(steps.min()) / table.price(start)
    spread = math.log1p(table.number("expected_move", at))
    quotes = at - start
    a = width * math.sqrt(quotes) / spread if spread > 0 else math.inf
    again = math.erf(a / math.sqrt(2)) - math.sqrt(2 / math.pi) / a * -math.expm1(-a * a / 2)
    return max(float(again**quotes), LEAST_P)
