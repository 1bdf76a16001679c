"""Stale feeds: no quotes, or an unchanged price, for far longer than usual.

One row for each stretch between two changes of the price, at the first quote that shows it: the quote that ends the
gap, or the unchanged quote that passes the limit. The limit is 15 minutes or 5 times the median of the symbol's last 48
gaps, whichever is longer. The score is the length so far.

Coins that are silent at the same time have one outage of their feed: the first row represents the others, which carry
its id as event_id.

Coarser history beside a live feed is no stale feed. The source has only hourly quotes of older days, and a hole that
was filled later may hold two of them; of other cadences three alike gaps in a row are history. So is a shorter gap at
the seam between the two. An unchanged price must be improbable; in a coin with a coarse price it brings news and is
not stale at all.
"""

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from market_pipeline.anomalies.anomaly import Kind
from market_pipeline.anomalies.parameters import LEAST_P, DetectionSettings
from market_pipeline.anomalies.rules.candidate import Candidate, id_of
from market_pipeline.anomalies.rules.score_table import MINUTE, ScoreTable
from market_pipeline.anomalies.series import Floats

_CHANGES = 200
# From fewer the price step is not known.
_FEWEST_CHANGES = 16
# Hourly quotes of the source are so many minutes apart; gaps up to this ratio are alike.
_HOURLY = (50.0, 80.0)
_ALIKE = 1.5
_IMPROBABLE = 1e-6
# Rows of different coins are one outage if they share at least this part of the longer silence.
_SHARED = 0.5
# A row is compared with so many of the latest outages.
_OPEN = 100


def find_stale_feeds(table: ScoreTable, settings: DetectionSettings) -> list[Candidate]:
    """Return the stale stretches of all symbols, by position, linked where several coins are silent."""
    silent = _silent_minutes(table)
    unchanged = table["stale_minutes"]
    long = (silent > settings.stale_minutes) | (unchanged > settings.stale_minutes)
    stretches: dict[int, Candidate] = {}
    for at in np.flatnonzero(long & (table["before"] >= 0)).tolist():
        start = int(table["before"][at])
        if start not in stretches:
            candidate = _judge(table, at, start, float(silent[at]), settings)
            if candidate is not None:
                stretches[start] = candidate
        elif unchanged[at] > stretches[start].score and not math.isnan(stretches[start].p_raw):
            stretches[start] = replace(stretches[start], score=float(unchanged[at]))
    return _linked(table, list(stretches.values()))


def _silent_minutes(table: ScoreTable) -> Floats:
    """Return the gap before each quote in minutes, 0 where it belongs to coarser history or to a seam beside it."""
    gaps = np.diff(table.moments, prepend=table.moments[:1]) / MINUTE
    gaps[table.starts[:-1]] = 0.0
    before, after = np.append(0.0, gaps[:-1]), np.append(gaps[1:], 0.0)
    hourly = (gaps > _HOURLY[0]) & (gaps < _HOURLY[1])
    run = _alike(before, gaps) & _alike(gaps, after)
    coarse = hourly & (np.append(False, hourly[:-1]) | np.append(hourly[1:], False))
    coarse |= run | np.append(False, run[:-1]) | np.append(run[1:], False)
    neighbour = np.maximum(np.append(0.0, (gaps * coarse)[:-1]), np.append((gaps * coarse)[1:], 0.0))
    return np.where(coarse | (gaps < _ALIKE * neighbour), 0.0, gaps)


def _alike(gaps: Floats, others: Floats) -> NDArray[np.bool_]:
    alike: NDArray[np.bool_] = np.maximum(gaps, others) < _ALIKE * np.minimum(gaps, others)
    return alike


def _judge(table: ScoreTable, at: int, start: int, silent: float, settings: DetectionSettings) -> Candidate | None:
    """Return the stale feed since the changed quote at `start`, as known with the quote at `at`."""
    usual = table.usual_gap(at)
    if math.isnan(usual):
        return None
    limit = max(settings.stale_minutes, settings.stale_gaps * usual / 60)
    if silent > limit:
        return Candidate(Kind.STALE_FEED, at, at - 1, silent, limit)
    still = table.number("stale_minutes", at)
    if still <= limit:
        return None
    probability = _unchanged_probability(table, start, at)
    if not probability < _IMPROBABLE:
        return None
    return Candidate(Kind.STALE_FEED, at, start, still, limit, p_raw=probability)


def _linked(table: ScoreTable, rows: list[Candidate]) -> list[Candidate]:
    """Return `rows` by position; the first row of an outage of several coins names them, the others carry its id."""
    outages: list[list[Candidate]] = []
    for row in sorted(rows, key=lambda each: (table.moment(each.at), table.symbol(each.at))):
        same = [outage for outage in outages[-_OPEN:] if _is_same_outage(table, outage[0], row)]
        if same:
            same[-1].append(row)
        else:
            outages.append([row])
    linked = []
    for first, *others in outages:
        event = id_of(table, Kind.STALE_FEED, first.at) if others else None
        coins = tuple(sorted({table.symbol(row.at) for row in (first, *others)}))
        linked.append(replace(first, event_id=event, members=coins if others else ()))
        linked += [replace(other, event_id=event) for other in others]
    return sorted(linked, key=lambda each: each.at)


def _is_same_outage(table: ScoreTable, first: Candidate, row: Candidate) -> bool:
    """Return whether two coins are silent together for at least half of the longer silence."""
    starts = table.moment(first.before), table.moment(row.before)
    lengths = first.score * MINUTE, row.score * MINUTE
    together = min(starts[0] + lengths[0], starts[1] + lengths[1]) - max(starts)
    return table.code(first.at) != table.code(row.at) and together >= _SHARED * max(lengths)


def _unchanged_probability(table: ScoreTable, start: int, at: int) -> float:
    """Return how probable it is that a moving price rounds to the same value at each quote after `start`.

    A price uniform in an interval of width w is in it again after a normal step of deviation s with probability
    erf(a / sqrt 2) - sqrt(2 / pi) / a (1 - exp(-a^2 / 2)), a = w / s; w is the price step and each quote is a step. NaN
    if too few changes are known.
    """
    first = max(int(table.starts[table.code(start)]), start - _CHANGES)
    steps = np.abs(np.diff(table["price"][first : start + 1]))
    steps = steps[steps > 0]
    if len(steps) < _FEWEST_CHANGES:
        return math.nan
    width = float(steps.min()) / table.price(start)
    spread = math.log1p(table.number("expected_move", at))
    quotes = at - start
    a = width * math.sqrt(quotes) / spread if spread > 0 else math.inf
    again = math.erf(a / math.sqrt(2)) - math.sqrt(2 / math.pi) / a * -math.expm1(-a * a / 2)
    return max(float(again**quotes), LEAST_P)
