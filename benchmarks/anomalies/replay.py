"""The product run over the real prices as its assets run it: a calibration a day or week, each day from its own window.

The files lie years apart, so the past of a file is made of others, shifted in time by whole days to end where it begins
and scaled so that no price jumps at the seam. The days that are judged keep their true times and prices.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from benchmarks.anomalies.prices import Bars
from benchmarks.anomalies.volatility import Floats
from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.calibration import Calibration
from market_pipeline.anomalies.detect import detect_days
from market_pipeline.anomalies.parameters import PARAMETERS
from market_pipeline.anomalies.scores.daily_peaks import joined
from market_pipeline.anomalies.scores.learning import calibrate_with_peaks
from market_pipeline.anomalies.scores.loops import load_compiler
from market_pipeline.anomalies.scores.scoring import score_columns
from market_pipeline.core.clock import DAY, from_microseconds, start_of_day
from market_pipeline.core.columns import Columns, to_datetime64

_MINUTES_PER_DAY = 1440.0
_COMPLETE = 0.9  # share of a file's days that a coin must be quoted to become a past
# Where later detectors have them, the scores also carry the return periods.
SCORES = ("jump_p", "residual_p", "large_move_p", "market_p", "large_move_score", "market_score")
PERIODS = ("large_move_days", "market_days")

# Makes the calibration of a time from the quotes before it.
Calibrate = Callable[[Columns, datetime], Calibration]
# As in the daily asset: days are scored in stretches, with some before them.
_STRETCH, _LEAD = timedelta(days=90), timedelta(days=14)


class Memory:
    """Calibrates as the daily asset does: from the quotes of its window and the daily peaks of the days before that."""

    def __init__(self) -> None:
        self._peaks = joined([])
        self._seen: set[date] = set()

    def __call__(self, prices: Columns, as_of: datetime) -> Calibration:
        """Calibrate from the quotes before `as_of`, a midnight."""
        first = as_of - timedelta(days=PARAMETERS.calibration_days)
        oldest = max(as_of - timedelta(days=PARAMETERS.memory_days), _start(prices))
        start = oldest
        while start < first and start.date() in self._seen:
            start += DAY
        while start < first:
            stop = min(start + _STRETCH, first)
            self._remember(calibrate_with_peaks(prices.between(start - _LEAD, stop), stop)[1], start, stop)
            start = stop
        days = self._peaks["day"]
        earlier = self._peaks.where((days >= np.datetime64(oldest.date())) & (days < np.datetime64(first.date())))
        calibration, peaks = calibrate_with_peaks(prices.between(first, as_of), as_of, earlier)
        self._remember(peaks, max(first, _start(prices)) + _LEAD, as_of - DAY)
        return calibration

    def _remember(self, peaks: Columns, start: datetime, stop: datetime) -> None:
        """Keep the peaks of these days, in place of those that are known."""
        first, last = np.datetime64(start.date()), np.datetime64(stop.date())
        known, new = self._peaks["day"], peaks["day"]
        self._peaks = joined([
            self._peaks.where((known < first) | (known >= last)), peaks.where((new >= first) & (new < last))
        ])
        self._seen |= {(start + number * DAY).date() for number in range((stop - start).days)}


def _start(prices: Columns) -> datetime:
    """The midnight before the first quote."""
    day: date = prices["timestamp"].min().astype("datetime64[D]").item()
    return start_of_day(day)


@dataclass(frozen=True)
class History:
    """The quotes of a file after those of its past; `past_days` is how long that is."""

    file: str
    bars: tuple[Bars, ...]  # the past and the file, one for each coin
    first: float  # minutes since 1970 of the file's first quote
    past_days: float

    @property
    def end(self) -> float:
        """The minute of the last quote of any coin."""
        return max(float(bars.minutes[-1]) for bars in self.bars)

    @property
    def days(self) -> list[date]:
        """The days of the file, by its quotes."""
        start, last = (from_microseconds(round(minute * 60e6)).date() for minute in (self.first, self.end - 1))
        return [start + timedelta(days=number) for number in range((last - start).days + 1)]

    def columns(self) -> Columns:
        """The quotes as the detectors take them."""
        names = [np.full(len(bars.minutes), bars.symbol, dtype=object) for bars in self.bars]
        times = [(bars.minutes * 60e6).astype(np.int64).astype("datetime64[us]") for bars in self.bars]
        return Columns({
            "symbol": np.concatenate(names),
            "timestamp": np.concatenate(times),
            "price": np.concatenate([bars.prices for bars in self.bars]),
        })


@dataclass(frozen=True)
class Run:
    """What the product said about the judged days of one file."""

    history: History
    days: tuple[date, ...]
    rows: tuple[Anomaly, ...]
    coins: NDArray[np.object_]  # of each scored quote of these days
    minutes: Floats
    scores: dict[str, Floats]

    @property
    def coin_days(self) -> float:
        """Days with quotes, summed over the coins."""
        quoted = set(zip(self.coins.tolist(), (self.minutes // _MINUTES_PER_DAY).tolist(), strict=True))
        return float(len(quoted))


def without_past(bars: Sequence[Bars]) -> History:
    """A new installation: nothing before the file."""
    return History(bars[0].file, tuple(bars), min(float(one.minutes[0]) for one in bars), 0.0)


def after(past: History, bars: Sequence[Bars]) -> History:
    """The file `bars` with `past` moved up to its beginning."""
    own = {one.symbol: one for one in bars}
    first = min(float(one.minutes[0]) for one in bars)
    days = np.floor((first - past.end) / _MINUTES_PER_DAY)
    length = past.end - min(float(one.minutes[0]) for one in past.bars)
    spliced = []
    for before in past.bars:
        if before.symbol in own and before.days >= _COMPLETE * length / _MINUTES_PER_DAY:
            mine = own.pop(before.symbol)
            shifted = before.minutes + days * _MINUTES_PER_DAY
            scaled = before.prices * (mine.prices[0] / before.prices[-1])
            spliced.append(_appended(Bars(before.file, before.symbol, shifted, scaled), mine))
    everything = sorted([*spliced, *own.values()], key=lambda one: one.symbol)
    return History(bars[0].file, tuple(everything), first, length / _MINUTES_PER_DAY)


def with_hourly_past(history: History) -> History:
    """The same with one quote an hour before the file: what a source has of days before a first start."""
    thinned = []
    for bars in history.bars:
        kept = (bars.minutes >= history.first) | (bars.minutes % 60 == 0)
        thinned.append(Bars(bars.file, bars.symbol, bars.minutes[kept], bars.prices[kept]))
    return replace(history, bars=tuple(thinned))


def continuous(files: Sequence[Sequence[Bars]]) -> list[History]:
    """Each file after all those before it, at their true times."""
    histories: list[History] = []
    quoted = 0.0
    for bars in files:
        past = {one.symbol: one for one in histories[-1].bars} if histories else {}
        whole = tuple(_appended(past[one.symbol], one) if one.symbol in past else one for one in bars)
        first = min(float(one.minutes[0]) for one in bars)
        histories.append(History(bars[0].file, whole, first, quoted))
        quoted += (histories[-1].end - first) / _MINUTES_PER_DAY
    return histories


def _appended(past: Bars, later: Bars) -> Bars:
    minutes = np.concatenate((past.minutes, later.minutes))
    return Bars(later.file, later.symbol, minutes, np.concatenate((past.prices, later.prices)))


def chained(files: Sequence[Sequence[Bars]]) -> list[History]:
    """Each file after all those before it."""
    histories = [without_past(files[0])]
    for bars in files[1:]:
        histories.append(after(histories[-1], bars))
    return histories


def run(
    history: History,
    *,
    refresh_days: int = 7,
    at_most_days: int | None = None,
    calibrate: Calibrate | None = None,
    with_rows: bool = True,
) -> Run:
    """Score and judge the days of the file; a calibration serves `refresh_days` days.

    Without rows the days of a calibration are scored at once, with a lead that grows by as much.
    """
    prices, calibrate = history.columns(), calibrate or Memory()
    load_compiler(10**6)
    symbols = [bars.symbol for bars in history.bars]
    days = history.days[:at_most_days]
    rows: dict[str, Anomaly] = {}
    scored: list[Columns] = []
    known: dict[date, Calibration | None] = {}
    for number in range(0, len(days), refresh_days):
        stretch = days[number : number + refresh_days]
        as_of = start_of_day(stretch[0])
        past = prices.between(as_of - timedelta(days=PARAMETERS.memory_days), as_of)
        calibration = calibrate(past, as_of) if len(past) else None
        known |= dict.fromkeys(stretch, calibration)
        around = prices.between(as_of - (LEAD_DAYS + 3) * DAY, start_of_day(stretch[-1]) + 3 * DAY)
        if not with_rows:
            scored.append(_scores_of(around, stretch[0], stretch[-1], calibration))
            continue
        wanted = [(day, symbol) for day in stretch for symbol in symbols]
        rows |= {row.id: row for row in detect_days(around, wanted, known.get)}
        scored += [_scores_of(around, day, day, calibration) for day in stretch]
    times = np.concatenate([part["timestamp"] for part in scored]).astype("datetime64[us]").astype(np.int64)
    names = [name for name in (*SCORES, *PERIODS) if name in scored[0].arrays]
    return Run(
        history,
        tuple(days),
        tuple(rows.values()),
        np.concatenate([part["symbol"] for part in scored]),
        times / 60e6,
        {name: np.concatenate([part[name] for part in scored]).astype(np.float64) for name in names},
    )


def _scores_of(prices: Columns, first: date, last: date, calibration: Calibration | None) -> Columns:
    """The scores of some days, from the window that the rules are given."""
    start = start_of_day(first)
    window = prices.between(start - LEAD_DAYS * DAY, start_of_day(last) + DAY)
    scores = score_columns(window, calibration, large_since=to_datetime64(start))
    of_days = scores["timestamp"] >= to_datetime64(start)
    kept = [name for name in ("symbol", "timestamp", *SCORES, *PERIODS) if name in scores.arrays]
    return Columns({name: scores[name][of_days] for name in kept})
