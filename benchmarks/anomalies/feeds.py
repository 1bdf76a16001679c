"""Real prices through an emulated live feed, with injected jumps.

A feed takes every first to third 5-minute bar, has outages and repeats quotes, as the live feed of
CoinGecko does. Jumps are sized by hindsight volatility; the threshold of a detector is, for each series, the
score that gives the alarm budget on its feeds before injection: real jumps use up part of the budget.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomalies.contenders import CONTENDERS, Contender
from benchmarks.anomalies.injection import hindsight_sigma, spaced, with_jumps
from benchmarks.anomalies.prices import Bars
from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.scoring import share, threshold_for
from benchmarks.anomalies.volatility import Floats

SIZES = (5.0, 8.0, 10.0, 15.0, 20.0)
BUDGETS = (10, 50)  # alarms per 10,000 quotes
FEEDS_PER_SERIES = 3
HINDSIGHT = "hindsight sigma (sees the future)"
_QUOTES_PER_JUMP = 280
_WARM_UP = 300


@dataclass(frozen=True)
class Feed:
    minutes: Floats
    untouched: Floats
    jumped: Floats
    jump_at: NDArray[np.int64]
    sizes: Floats
    sigma: Floats  # hindsight standard deviation of the return into each quote of the untouched feed


@dataclass(frozen=True)
class Found:
    """Recall of each of SIZES at each of BUDGETS, with its standard error."""

    title: str
    recalls: dict[int, list[tuple[float, float]]]


def make_feed(bars: Bars, number: int, seed: int = 1) -> Feed:
    """Feed `number` of one series."""
    random = np.random.default_rng([seed, sum((bars.file + bars.symbol).encode()), number])
    steps = random.integers(1, 4, len(bars.minutes))
    outage = random.random(len(steps)) < 0.004
    steps[outage] = random.integers(6, 73, int(outage.sum()))
    taken = np.cumsum(steps)
    taken = taken[taken < len(bars.minutes)]
    minutes, path = bars.minutes[taken], bars.prices[taken]
    fresh = random.random(len(taken)) >= 0.08
    fresh[0] = True
    shown = np.maximum.accumulate(np.where(fresh, np.arange(len(taken)), 0))
    untouched = path[shown]
    sigma = hindsight_sigma(minutes, untouched)
    allowed = np.isfinite(sigma) & (sigma > 0) & (np.arange(len(taken)) >= _WARM_UP)
    at = spaced(allowed, _QUOTES_PER_JUMP, random)
    sizes = random.choice(SIZES, len(at))
    moves = sizes * sigma[at] * random.choice([-1.0, 1.0], len(at))
    return Feed(minutes, untouched, with_jumps(path, at, moves)[shown], at, sizes, sigma)


def outcomes(series: Sequence[Bars], seed: int = 1) -> list[Found]:
    """Hindsight first, then every detector, on all feeds of all series."""
    feeds = [[make_feed(bars, number, seed) for number in range(FEEDS_PER_SERIES)] for bars in series]
    rows = [_found(HINDSIGHT, feeds, _against_hindsight)]
    for contender in CONTENDERS:
        rows.append(_found(contender.name, feeds, partial(_scored, contender)))
    return rows


def _scored(contender: Contender, feed: Feed) -> tuple[Floats, Floats]:
    return contender.scores(feed.minutes, feed.untouched), contender.scores(feed.minutes, feed.jumped)


def _against_hindsight(feed: Feed) -> tuple[Floats, Floats]:
    sigma = np.where(feed.sigma > 0, feed.sigma, np.inf)  # repeated quotes have none
    return np.abs(returns(feed.untouched)) / sigma, np.abs(returns(feed.jumped)) / sigma


def _found(
    title: str, feeds: Sequence[Sequence[Feed]], scores: Callable[[Feed], tuple[Floats, Floats]]
) -> Found:
    """Recall for each budget, with one threshold for all feeds of a series."""
    hits: dict[int, list[NDArray[np.bool_]]] = {budget: [] for budget in BUDGETS}
    for own in feeds:
        scored = [scores(feed) for feed in own]
        untouched = np.concatenate([before[_WARM_UP:] for before, _ in scored])
        at_jumps = np.concatenate([after[feed.jump_at] for feed, (_, after) in zip(own, scored, strict=True)])
        for budget in BUDGETS:
            threshold = threshold_for(untouched, round(len(untouched) * budget / 10_000))
            hits[budget].append(at_jumps > threshold)
    sizes = np.concatenate([feed.sizes for own in feeds for feed in own])
    found = {budget: np.concatenate(parts) for budget, parts in hits.items()}
    recalls = {budget: [share(found[budget][sizes == size]) for size in SIZES] for budget in BUDGETS}
    return Found(title, recalls)
