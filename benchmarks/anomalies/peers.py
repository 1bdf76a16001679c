"""Moves of one coin against moves of all: what the other coins add, on aligned 5-minute bars.

Jumps are put into calm bars of one coin (idiosyncratic), or of all five at once and equal in size
(a market move); jumps of one coin also where the quotes of the coins are up to two minutes apart, as live
ones are. Thresholds come from the same quotes without jumps. The residual score is the package's score of
what is left of a move when the market's share is taken out; the market's z is the median of the other coins'
moves.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benchmarks.anomalies.injection import hindsight_sigma, spaced, with_jumps
from benchmarks.anomalies.ours import as_frame
from benchmarks.anomalies.prices import Bars, by_file
from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.scoring import share, threshold_for
from benchmarks.anomalies.volatility import Floats

SIZES = (3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
BUDGETS = (10, 50)  # alarms per 10,000 bars
QUOTED_APART = "idiosyncratic, quotes up to 2 min apart"
SCORES = ("jump_score", "residual_score", "market_z")
_BARS_PER_JUMP = 60
_WARM_UP = 600
_QUOTED = 0.9  # share of the longest series
_APART = 2.0  # minutes from the end of a bar to the last quote of it
_COMMON = 0.8  # of a move between two bars: the part that all coins share
_LOCAL = 24  # bars whose mean square is the volatility between two of them
_JUMP = 4.0  # such deviations: a larger move happens at once
_CALM = 2.0  # hindsight standard deviations that no coin's own move may exceed where a jump is put

Panel = dict[str, tuple[Floats, Floats]]


@dataclass(frozen=True)
class Peers:
    """Recall by size for each score and budget; scope labels of the jumps found at 10 per 10,000."""

    recalls: dict[tuple[str, str, int], list[tuple[float, float]]]  # by kind of jump, score, budget
    scopes: dict[str, tuple[int, int]]  # right and all, by kind of jump
    jumps: dict[str, int]


@dataclass(frozen=True)
class _Injected:
    scores: dict[str, Floats]  # at the jumps
    scopes: NDArray[np.object_]
    sizes: Floats


def measure(series: Sequence[Bars], seed: int = 1) -> Peers:
    """Both kinds of jump on every file in which all coins are quoted at the same times."""
    panels = [aligned(bars) for bars in by_file(list(series)).values()]
    quoted_apart = [apart(panel, seed + number) for number, panel in enumerate(panels)]
    recalls, scopes, jumps = {}, {}, {}
    for kind, quoted in (("idiosyncratic", panels), ("market", panels), (QUOTED_APART, quoted_apart)):
        if kind != "market":
            untouched = [_score(panel) for panel in quoted]
            quiet = {s: np.concatenate([_sizes_of(f, s) for f in untouched]) for s in SCORES}
        both = enumerate(zip(panels, quoted, strict=True))
        parts = [_inject(*panel, kind == "market", seed + number) for number, panel in both]
        sizes = np.concatenate([part.sizes for part in parts])
        labels = np.concatenate([part.scopes for part in parts])
        found_by_any = np.zeros(len(sizes), dtype=np.bool_)
        for score in SCORES:
            values = np.concatenate([part.scores[score] for part in parts])
            for budget in BUDGETS:
                found = values > threshold_for(quiet[score], len(quiet[score]) * budget / 10_000)
                recalls[kind, score, budget] = [share(found[sizes == size]) for size in SIZES]
                found_by_any |= found & (budget == BUDGETS[0])
        jumps[kind] = len(sizes)
        if kind == QUOTED_APART:
            continue  # Detection completes the scope with later quotes.
        scopes[kind] = (int((labels[found_by_any] == kind).sum()), int(found_by_any.sum()))
    return Peers(recalls, scopes, jumps)


def aligned(bars: Sequence[Bars]) -> Panel:
    """The bars that all symbols have; a coin whose quotes stop early is left out."""
    longest = max(one.days for one in bars)
    quoted = [one for one in bars if one.days >= _QUOTED * longest]
    common = quoted[0].minutes
    for one in quoted[1:]:
        common = np.intersect1d(common, one.minutes)
    return {one.symbol: (common, one.prices[np.isin(one.minutes, common)]) for one in quoted}


def apart(panel: Panel, seed: int) -> Panel:
    """The coins with each quote up to two minutes after its bar, on a random bridge to the next."""
    random = np.random.default_rng([seed, 2])
    size = len(next(iter(panel.values()))[0])
    common = random.standard_normal(size)
    quoted = {}
    for symbol, (minutes, prices) in panel.items():
        later = random.uniform(0, _APART, size)
        step = np.append(np.diff(np.log(prices)), 0.0)
        deviation = np.sqrt(np.convolve(step**2, np.full(_LOCAL, 1 / _LOCAL), "same"))
        share = later / np.append(np.diff(minutes), np.inf)
        noise = _COMMON * common + np.sqrt(1 - _COMMON**2) * random.standard_normal(size)
        steady = np.where(np.abs(step) > _JUMP * deviation, 0.0, step * share)
        between = steady + deviation * noise * np.sqrt(share * (1 - share))
        quoted[symbol] = (minutes + later, prices * np.exp(between))
    return quoted


def _inject(panel: Panel, quoted: Panel, market: bool, seed: int) -> _Injected:
    """Scores and scopes at the jumps put into `quoted`, sized and placed by the bars of `panel`."""
    random = np.random.default_rng([seed, 6 if market else 13])
    sigmas = {symbol: hindsight_sigma(*quotes) for symbol, quotes in panel.items()}
    calm = np.logical_and.reduce([np.abs(returns(panel[s][1])) < _CALM * sigmas[s] for s in panel])
    calm[:_WARM_UP] = False
    at = spaced(calm, 2 * _BARS_PER_JUMP if market else _BARS_PER_JUMP, random)
    sizes, signs = random.choice(SIZES, len(at)), random.choice([-1.0, 1.0], len(at))
    chosen = random.integers(0, len(panel), len(at))
    moved = {}
    for number, (symbol, (minutes, prices)) in enumerate(quoted.items()):
        own = (chosen == number) | market
        moved[symbol] = (minutes, with_jumps(prices, at[own], (sizes * signs * sigmas[symbol][at])[own]))
    scored = _score(moved)
    # The market move is judged in a coin drawn for each jump, as the idiosyncratic one is.
    rows = chosen * len(calm) + at
    scores = {score: _sizes_of(scored, score)[rows] for score in SCORES}
    return _Injected(scores, scored["scope"].to_numpy(object)[rows], sizes)


def _sizes_of(scored: pd.DataFrame, column: str) -> Floats:
    """A column without its sign, 0 where it is not known."""
    sizes: Floats = np.abs(np.nan_to_num(scored[column].to_numpy(np.float64)))
    return sizes


def _score(panel: Panel) -> pd.DataFrame:
    from market_pipeline.anomalies import score_prices

    scored: pd.DataFrame = score_prices(as_frame(panel))
    return scored
