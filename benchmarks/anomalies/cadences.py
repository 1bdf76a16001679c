"""Simulated markets of other cadences and coins: long hourly ones, uneven hours, daily closes, a stablecoin.

Five coins share a market factor; volatility is log-stochastic with a common part, and one return in a few hundred is
drawn three times as wide, so tails are fat. What is told to be rare is counted over many years.
"""

from collections import Counter
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from benchmarks.anomalies import alarm_measures, replay
from benchmarks.anomalies.alarm_measures import Ratio
from benchmarks.anomalies.prices import Bars
from benchmarks.anomalies.replay import PERIODS, History, Run
from benchmarks.anomalies.volatility import Floats, hour_factor, log_sigma
from benchmarks.anomalies.worlds import pieces
from market_pipeline.anomalies.anomaly import Kind, alarms

COINS = {"BTC": 40_000.0, "ETH": 2_500.0, "SOL": 100.0, "ADA": 0.5, "DOT": 7.0}
STABLE = "USDT"
_START = 26_297_280.0  # minutes: 2020-01-01 UTC
_DAY = 1440.0
_MARKET_SHARE = 0.7  # of the variance of a coin's return
_COMMON = 0.8  # of the variance of log volatility
_WIDE, _WIDER = 0.003, 3.0
_DAILY_YEARS = 2
_UNEVEN_DAYS = 120.0  # the first 30 only teach
_LONG_YEARS, _QUICK_YEARS = 12, 4


@dataclass(frozen=True)
class Cadences:
    """Return periods over the long world; rows and alarms a year or in all of the others."""

    years: int
    told: dict[tuple[str, float], Ratio]
    hourly: dict[str, "Shape"]
    daily: dict[str, float]  # alarms a coin-year by kind
    stable: dict[str, dict[str, int]]  # alarms by kind and severity, by what happened


@dataclass(frozen=True)
class Shape:
    """How large moves split: rows a coin-day, and rows of the same coin and direction within three hours of another."""

    large_rows: float
    repeated: int
    market_rows: float
    alarms: float


def measure(*, quick: bool = False) -> Cadences:
    """Simulate and run everything; the seeds are fixed."""
    years = _QUICK_YEARS if quick else _LONG_YEARS
    return Cadences(years, _long(years), _uneven(), _daily(), _stable())


def market(minutes: Floats, seed: int) -> list[Bars]:
    """One series a coin at these times, all of one market."""
    random = np.random.default_rng(seed)
    lengths, ends = pieces(np.diff(minutes, prepend=minutes[0]))
    common = log_sigma(np.maximum(lengths, 1e-9), random)
    middle = common.mean()
    hours = hour_factor(minutes[0] + np.cumsum(lengths) - lengths / 2)
    shared = random.standard_normal(len(lengths)) * _widths(len(lengths), random)
    series = []
    for symbol, price in COINS.items():
        own = log_sigma(np.maximum(lengths, 1e-9), random)
        sigma = np.exp(middle + np.sqrt(_COMMON) * (common - middle) + np.sqrt(1 - _COMMON) * (own - own.mean()))
        alone = random.standard_normal(len(lengths)) * _widths(len(lengths), random)
        mixed = np.sqrt(_MARKET_SHARE) * shared + np.sqrt(1 - _MARKET_SHARE) * alone
        path = np.cumsum(sigma * hours * np.sqrt(lengths) * mixed)[ends]
        series.append(Bars("simulated", symbol, minutes, price * np.exp(path - path[0])))
    return series


def _widths(count: int, random: np.random.Generator) -> Floats:
    return np.where(random.random(count) < _WIDE, _WIDER, 1.0)


def _grid(days: float, step: float) -> Floats:
    return _START + np.arange(0.0, days * _DAY, step)


def _after(days: float, bars: list[Bars]) -> History:
    """The quotes with their first `days` for a past."""
    return History("simulated", tuple(bars), _START + days * _DAY, days)


def _long(years: int) -> dict[tuple[str, float], Ratio]:
    """Days with a quote told to be so rare, over many years of hourly quotes; the first year only teaches."""
    simulated = _after(365.0, market(_grid(365.0 * (years + 1), 60.0), 11))
    scored = replay.run(simulated, refresh_days=28, with_rows=False)
    told = {}
    for column in PERIODS:
        for days in alarm_measures.TOLD:
            if column in scored.scores:
                told[column, days] = alarm_measures.told_by_scores([scored], column, days)
    return told


def _uneven() -> dict[str, Shape]:
    """The same path at hours on the grid, and at hours 55 to 75 minutes apart."""
    random = np.random.default_rng(12)
    uneven = _START + np.cumsum(random.uniform(55.0, 75.0, int(_UNEVEN_DAYS * _DAY / 65)))
    grid = _grid(_UNEVEN_DAYS, 60.0)
    every = np.union1d(uneven, grid)
    shapes = {}
    for name, times in (("every 60 minutes", grid), ("55 to 75 minutes apart", uneven)):
        bars = [_at(one, times) for one in market(every, 13)]
        shapes[name] = _shape(replay.run(replay.without_past(bars)))
    return shapes


def _at(bars: Bars, times: Floats) -> Bars:
    kept = np.isin(bars.minutes, times)
    return Bars(bars.file, bars.symbol, bars.minutes[kept], bars.prices[kept])


def _shape(one: Run) -> Shape:
    rows = alarm_measures.rows_of(one)
    days = alarm_measures.days_of([one])
    large = sorted((r for r in rows if r.kind == Kind.LARGE_MOVE.value), key=lambda r: (r.symbol, r.timestamp))
    near = sum(
        a.symbol == b.symbol
        and a.direction == b.direction
        and alarm_measures.minute(b.timestamp) - alarm_measures.minute(a.timestamp) <= 180
        for a, b in pairwise(large)
    )
    markets = sum(row.kind == Kind.MARKET_MOVE.value for row in rows)
    return Shape(len(large) / days / len(COINS), near, markets / days, len(alarms(rows)) / days)


def _daily() -> dict[str, float]:
    """Alarms a coin-year by kind on daily closes, the first year left out."""
    simulated = [_at(bars, bars.minutes[::4]) for bars in market(_grid(365.0 * (_DAILY_YEARS + 1), 360.0), 14)]
    one = replay.run(_after(365.0, simulated), refresh_days=28)
    counted = Counter(row.kind for row in alarms(one.rows))
    total = {kind: count / _DAILY_YEARS / len(COINS) for kind, count in sorted(counted.items())}
    return {**total, "all": sum(total.values())}


def _stable() -> dict[str, dict[str, int]]:
    """A stablecoin in thousandths of a dollar among the others: calm for 9 days, and with a depeg on the seventh."""
    minutes = _grid(69.0, 5.0)
    others = market(minutes, 15)
    found = {}
    for name, depeg in (("calm", False), ("depeg", True)):
        stable = Bars("simulated", STABLE, minutes, _stable_prices(minutes, depeg=depeg))
        one = replay.run(_after(60.0, [*others, stable]))
        rows = [row for row in alarms(one.rows) if row.symbol == STABLE]
        found[name] = dict(Counter(f"{row.kind} {row.severity}" for row in rows))
    return found


def _stable_prices(minutes: Floats, *, depeg: bool) -> Floats:
    """Half a thousandth around a dollar, reverting in hours; a depeg takes 4% in two hours and lasts a day."""
    random = np.random.default_rng(16)
    steps = 0.00012 * random.standard_normal(len(minutes))
    away = 0.0
    path = np.empty(len(minutes))
    for number, step in enumerate(steps.tolist()):
        away = 0.97 * away + step
        path[number] = away
    if depeg:
        since = (minutes - _START) / _DAY - 66.5
        path += np.interp(since, [0.0, 1 / 12, 0.5, 1.0], [0.0, -0.04, -0.03, 0.0])
    rounded: Floats = np.round(1.0 + path, 3)
    return rounded

