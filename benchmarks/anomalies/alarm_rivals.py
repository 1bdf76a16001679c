"""Simple rules at their own thresholds on the same days: episodes of the market, known events, event-coin pairs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
from numba import njit

from benchmarks.anomalies import alarm_measures, libraries
from benchmarks.anomalies.alarm_measures import judged, minute, starts
from benchmarks.anomalies.events import present
from benchmarks.anomalies.prices import Bars
from benchmarks.anomalies.replay import Run
from benchmarks.anomalies.rivals import returns
from benchmarks.anomalies.volatility import Floats
from market_pipeline.anomalies.anomaly import Anomaly, alarms

_HOUR, _DAY = 60.0, 1440.0
_TREND, _SCALE = 360.0, 14 * 1440.0  # half-lives in minutes of the band's trend and of its width
_ISOLATED = 0.998  # quantile of the isolation scores beyond which an alarm is raised
_QUOTES_OF_A_DAY = 288


@dataclass(frozen=True)
class Rival:
    """Episodes of the market a day, known events and event-coin pairs with an alarm."""

    title: str
    episodes_a_day: float
    events: int
    pairs: int


def measure(runs: Sequence[Run]) -> list[Rival]:
    """Each rule on the judged days of the runs, with their past as history; IForest only where PyOD is installed."""
    rules = dict(_RULES)
    if find_spec("pyod") is not None:
        rules["IForest on returns, the most isolated 0.2%"] = _isolated
    return [_rival(title, rule, runs) for title, rule in rules.items()]


def product(runs: Sequence[Run], title: str, counts: Callable[[Anomaly], bool]) -> Rival:
    """The product's own alarms; a coin is alarmed by its own row or as a member of the market's."""
    episodes = events = pairs = 0
    for run in runs:
        rows = [row for row in alarms(alarm_measures.rows_of(run)) if counts(row)]
        episodes += len(starts(minute(row.timestamp) for row in rows))
        quoted = run.minutes >= judged(run)
        for event in alarm_measures.events_of(run):
            inside = [row for row in rows if alarm_measures.inside(row, event)]
            named = {coin for row in inside for coin in (row.symbol, *(row.members or "").split(","))}
            first, last = event.window
            coins = set(run.coins[quoted & (run.minutes > first) & (run.minutes <= last)].tolist())
            events += bool(inside)
            pairs += len(named & coins)
    return Rival(title, episodes / alarm_measures.days_of(runs), events, pairs)


def _rival(title: str, rule: Callable[[Bars], Floats], runs: Sequence[Run]) -> Rival:
    episodes = pairs = 0
    hit: set[str] = set()
    for run in runs:
        every: list[Floats] = []
        for bars in run.history.bars:
            alarmed = rule(bars)
            alarmed = alarmed[alarmed >= judged(run)]
            every.append(alarmed)
            for event in present(bars.minutes[bars.minutes >= judged(run)]):
                first, last = event.window
                if ((alarmed > first) & (alarmed <= last)).any():
                    pairs += 1
                    hit.add(event.name)
        episodes += len(starts(np.concatenate(every)))
    return Rival(title, episodes / alarm_measures.days_of(runs), len(hit), pairs)


def _in_an_hour(bars: Bars, size: float) -> Floats:
    """Times at which the price is so far from that of an hour before."""
    before = np.searchsorted(bars.minutes, bars.minutes - _HOUR, side="right") - 1
    moves = np.where(before >= 0, np.abs(bars.prices / bars.prices[before] - 1), 0.0)
    return bars.minutes[moves >= size]


def _band(bars: Bars, width: float) -> Floats:
    """Times at which the log price is so many standard deviations from a smooth trend of the quotes before."""
    elapsed = np.diff(bars.minutes, prepend=bars.minutes[0])
    return bars.minutes[_band_scores(np.log(bars.prices), 0.5 ** (elapsed / _TREND), 0.5 ** (elapsed / _SCALE)) > width]


@njit(cache=True)
def _band_scores(path: Floats, keep_trend: Floats, keep_scale: Floats) -> Floats:
    scores = np.zeros(len(path))
    trend, variance = path[0], 0.0
    for i in range(1, len(path)):
        away = path[i] - trend
        if i > _QUOTES_OF_A_DAY:
            scores[i] = abs(away) / max(variance, 1e-12) ** 0.5
        weight = max(1 - keep_scale[i], 1.0 / (i + 1))
        variance += weight * (away * away - variance)
        trend = keep_trend[i] * trend + (1 - keep_trend[i]) * path[i]
    return scores


def _isolated(bars: Bars) -> Floats:
    scores = libraries.isolation_forest(bars.minutes, bars.prices)
    return bars.minutes[scores > np.quantile(scores, _ISOLATED)]


def _day_z(bars: Bars, width: float) -> Floats:
    """Times of returns so many standard deviations of the day before them."""
    moves = returns(bars.prices)
    total, squares = np.cumsum(moves), np.cumsum(moves * moves)
    n = _QUOTES_OF_A_DAY
    mean = (total[n - 1 : -1] - np.concatenate(([0.0], total[: -n - 1]))) / n
    square = (squares[n - 1 : -1] - np.concatenate(([0.0], squares[: -n - 1]))) / n
    spread = np.sqrt(np.maximum(square - mean * mean, 1e-16))
    return bars.minutes[n:][np.abs(moves[n:] - mean) > width * spread]


_RULES: dict[str, Callable[[Bars], Floats]] = {
    "5% in an hour": lambda bars: _in_an_hour(bars, 0.05),
    "3% in an hour": lambda bars: _in_an_hour(bars, 0.03),
    "4-sigma band around a smooth trend": lambda bars: _band(bars, 4.0),
    "3-sigma band around a smooth trend": lambda bars: _band(bars, 3.0),
    "rolling z of a day at 5": lambda bars: _day_z(bars, 5.0),
}
