"""Known events of the real series: who notices them at a given number of episodes per symbol-day."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

import numpy as np

from benchmarks.anomalies.contenders import LIBRARIES, OURS, RULES, Contender
from benchmarks.anomalies.prices import Bars
from benchmarks.anomalies.volatility import Floats

RATES = (0.05, 0.1, 0.2, 0.5, 1.0)  # episodes per symbol-day, or per day for the market
_MERGED_WITHIN = 60.0  # minutes between alarms of one episode
_GRACE = 60.0  # minutes after an event in which an alarm still counts


@dataclass(frozen=True)
class Event:
    name: str
    start: datetime
    minutes: float = 0.0

    @property
    def window(self) -> tuple[float, float]:
        """The window in minutes since 1970 UTC, grace included."""
        first = self.start.timestamp() / 60
        return first, first + self.minutes + _GRACE


def _at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc)


EVENTS = (
    Event("Leverage flush", _at("2021-01-11 03:00"), 60),
    Event("Sell-off of 22 February", _at("2021-02-22 14:00"), 30),
    Event("Sunday liquidations", _at("2021-04-18 03:00"), 45),
    Event("Tesla stops accepting BTC", _at("2021-05-12 22:00")),
    Event("Liquidation cascade", _at("2021-05-19 12:00"), 80),
    Event("Second wave of May", _at("2021-05-23 12:30"), 280),
    Event("FTX letter of intent and collapse", _at("2022-11-08 16:00"), 240),
    Event("Binance walks away from FTX", _at("2022-11-09 18:00"), 240),
    Event("US consumer prices", _at("2022-11-10 13:30")),
    Event("Silvergate", _at("2023-03-03 01:15")),
    Event("SEC sues Binance", _at("2023-06-05 15:00")),
    Event("Alt coins crash", _at("2023-06-10 04:15")),
    Event("ETF doubts", _at("2024-01-03 11:55")),
    Event("Friday sell-off of April", _at("2024-04-12 18:25")),
    Event("Iran's drones", _at("2024-04-13 19:55")),
    Event("Yen carry unwind, first leg", _at("2024-08-05 00:30"), 60),
    Event("Yen carry unwind, second leg", _at("2024-08-05 06:00"), 40),
)


@dataclass(frozen=True)
class Hits:
    """Noticed (event, symbol) pairs, or events for the market, at each of RATES."""

    title: str
    hits: tuple[int, ...]
    possible: int


def episode_starts(minutes: Floats) -> Floats:
    """The first alarm of each episode: alarms with no more than 60 minutes between them are one."""
    return minutes[np.diff(minutes, prepend=-np.inf) > _MERGED_WITHIN]


def loudest(minutes: Floats, scores: Floats, episodes: float) -> Floats:
    """Times of the alarms, ascending, at the lowest threshold that gives no more than so many episodes."""
    order = np.argsort(-np.nan_to_num(scores), kind="stable")
    low, high = 0, 1  # numbers of alarms; merging makes episodes few again at absurdly low thresholds
    while high < len(order) and len(episode_starts(np.sort(minutes[order[:high]]))) <= episodes:
        low, high = high, 2 * high
    high = min(high, len(order))
    while high - low > 1:
        middle = (low + high) // 2
        if len(episode_starts(np.sort(minutes[order[:middle]]))) <= episodes:
            low = middle
        else:
            high = middle
    return np.sort(minutes[order[:low]])


def noticed(minutes: Floats, scores: Floats, days: float) -> list[list[bool]]:
    """For each of RATES and each of the events inside the series, whether an alarm fell into its window."""
    answer = []
    for rate in RATES:
        alarms = loudest(minutes, scores, rate * days)
        windows = [event.window for event in present(minutes)]
        answer.append([bool(((alarms > first) & (alarms <= last)).any()) for first, last in windows])
    return answer


def present(minutes: Floats) -> list[Event]:
    """The events that happened while the series has quotes."""
    return [event for event in EVENTS if ((minutes > event.window[0]) & (minutes <= event.window[1])).any()]


def by_symbol(series: Sequence[Bars]) -> list[Hits]:
    """Every detector on every symbol, with a threshold per symbol over all its files."""
    rows = []
    for contender in (*OURS, *RULES, *(each for each in LIBRARIES if each.at_most is None)):
        rows.append(_hits(contender, series))
    return rows


def _hits(contender: Contender, series: Sequence[Bars]) -> Hits:
    counts, possible = np.zeros(len(RATES), dtype=int), 0
    for symbol in dict.fromkeys(bars.symbol for bars in series):
        own = [bars for bars in series if bars.symbol == symbol]
        minutes = np.concatenate([bars.minutes for bars in own])
        scores = np.concatenate([contender.scores(bars.minutes, bars.prices) for bars in own])
        found = np.array(noticed(minutes, scores, sum(bars.days for bars in own)))
        counts += found.sum(axis=1)
        possible += found.shape[1]
    return Hits(contender.name, tuple(counts.tolist()), possible)


def from_panel(title: str, panels: Sequence[tuple[Floats, Floats, float]]) -> Hits:
    """The same for one score of the whole market; each panel is times, scores and days of a file."""
    minutes = np.concatenate([times for times, _, _ in panels])
    scores = np.concatenate([values for _, values, _ in panels])
    found = np.array(noticed(minutes, scores, sum(days for _, _, days in panels)))
    return Hits(title, tuple(found.sum(axis=1).tolist()), found.shape[1])
