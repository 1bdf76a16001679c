"""What the alarms of the runs over the real prices are worth: rarity, events, sizes, ranking.

Errors are standard errors by cluster: alarms less than a day apart, of whatever coin, come from one cause.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from benchmarks.anomalies.events import RATES, Event, loudest, present
from benchmarks.anomalies.replay import PERIODS, Run
from benchmarks.anomalies.volatility import Floats
from market_pipeline.anomalies.anomaly import Anomaly, Kind, Severity, alarms

TOLD = (30.0, 100.0, 365.0)  # days
NOMINAL = (1e-3, 2e-4)
SMALL = (0.01, 0.005)
FIRST = (50, 100, 200)  # entries of a ranking
BAR_DAYS = 1_670  # of the series that the bars were set on
LEARNED_DAYS = 30  # of past from which on a day is judged
_DAY = 1440.0
_MERGED = 60.0  # minutes between the alarms of one episode
_LATEST = 60.0  # minutes since its last quote in which a coin counts
_TOGETHER = 3  # coins
_NOTICEABLE = 0.001  # a median return that has a direction
_SEVERITIES = [severity.value for severity in Severity]


@dataclass(frozen=True)
class Ratio:
    """How many there were, for so many expected; the error is that of the ratio, by cluster."""

    found: int
    expected: float
    error: float

    @property
    def ratio(self) -> float:
        return self.found / self.expected if self.expected else float("nan")

    @property
    def poisson(self) -> float:
        """The standard error if all were independent."""
        return max(self.found, 1) ** 0.5 / self.expected if self.expected else float("nan")


def minute(moment: datetime) -> float:
    """Minutes since 1970 of an aware time."""
    return moment.timestamp() / 60


def judged(run: Run) -> float:
    """The minute from which on enough past is known."""
    return run.history.first + max(0.0, LEARNED_DAYS - run.history.past_days) * _DAY


def days_of(runs: Sequence[Run]) -> float:
    """The days that are judged, of the market."""
    return sum((run.history.end - judged(run)) / _DAY for run in runs)


def rows_of(run: Run) -> list[Anomaly]:
    """The rows of the judged days."""
    return [row for row in run.rows if minute(row.timestamp) >= judged(run)]


def ratio_of(times: Floats, expected: float) -> Ratio:
    """The ratio of the alarms at these minutes to the number expected."""
    ordered = np.sort(times)
    sizes = np.unique(np.cumsum(np.diff(ordered, prepend=-np.inf) > _DAY), return_counts=True)[1]
    error = max(float((sizes**2).sum()), 1.0) ** 0.5
    return Ratio(len(times), expected, error / expected if expected else float("nan"))


def starts(minutes: Iterable[float], apart: float = _MERGED) -> Floats:
    """The first of each episode: times no more than so many minutes apart are one."""
    ordered = np.sort(np.array(list(minutes), dtype=np.float64))
    return ordered[np.diff(ordered, prepend=-np.inf) > apart]


def _coin_days(run: Run) -> float:
    late = run.minutes >= judged(run)
    return float(len(np.unique(run.minutes[late] // _DAY * 1000 + _codes(run)[late])))


def _codes(run: Run) -> Floats:
    """The number of the coin of each quote."""
    codes: Floats = np.unique(run.coins.astype(str), return_inverse=True)[1].astype(np.float64)
    return codes


def told_by_rows(runs: Sequence[Run], kind: Kind, days: float, apart: float) -> Ratio:
    """Episodes of rows said to occur once in `days` days or more seldom, against that."""
    found: list[float] = []
    expected = 0.0
    for run in runs:
        rows = [row for row in rows_of(run) if row.kind == kind.value and (row.expected_every_days or 0) >= days]
        symbols = [bars.symbol for bars in run.history.bars] if kind is Kind.LARGE_MOVE else [None]
        for symbol in symbols:
            found += starts((minute(row.timestamp) for row in rows if symbol in (None, row.symbol)), apart).tolist()
        expected += (_coin_days(run) if kind is Kind.LARGE_MOVE else days_of([run])) / days
    return ratio_of(np.array(found), expected)


def told_by_scores(runs: Sequence[Run], column: str, days: float) -> Ratio:
    """Days with a quote whose score is said to occur once in `days` days or more seldom, against that."""
    found: list[float] = []
    expected = 0.0
    for run in runs:
        late = run.minutes >= judged(run)
        rare = late & (np.nan_to_num(run.scores[column]) >= days)
        coins = _codes(run) if column == PERIODS[0] else np.zeros(len(late))
        whole = np.unique(np.stack((run.minutes[rare] // _DAY, coins[rare])), axis=1)
        found += (whole[0] * _DAY).tolist()
        expected += (_coin_days(run) if column == PERIODS[0] else days_of([run])) / days
    return ratio_of(np.array(found), expected)


def realised(runs: Sequence[Run], column: str, nominal: float) -> Ratio:
    """Quotes whose calibrated p is below the nominal one, against that share of all quotes."""
    found, quotes = [], 0
    for run in runs:
        late = run.minutes >= judged(run)
        found.append(run.minutes[late & (np.nan_to_num(run.scores[column], nan=1.0) < nominal)])
        quotes += int(late.sum())
    return ratio_of(np.concatenate(found), nominal * quotes)


@dataclass(frozen=True)
class Noticed:
    """Events with an alarm of some severities, the episodes of the market of these alarms a day, and names missed."""

    title: str
    hits: int
    events: int
    episodes_a_day: float
    missed: tuple[str, ...]


def noticed(runs: Sequence[Run], title: str, counts: Callable[[Anomaly], bool]) -> Noticed:
    """Alarms of all coins within 60 minutes are one episode; a peak in the window counts as the first quote does."""
    hits, missed, episodes, names = 0, [], 0, 0
    for run in runs:
        rows = [row for row in alarms(rows_of(run)) if counts(row)]
        episodes += len(starts(minute(row.timestamp) for row in rows))
        for event in events_of(run):
            names += 1
            if any(inside(row, event) for row in rows):
                hits += 1
            else:
                missed.append(event.name)
    return Noticed(title, hits, names, episodes / days_of(runs), tuple(missed))


def events_of(run: Run) -> list[Event]:
    """The known events of the judged days."""
    return present(np.unique(run.minutes[run.minutes >= judged(run)]))


def inside(row: Anomaly, event: Event) -> bool:
    """Whether the first quote or the peak of a row lies in the window of an event."""
    first, last = event.window
    return any(first < minute(moment) <= last for moment in (row.timestamp, row.episode_peak))


def pairs(runs: Sequence[Run], column: str = "large_move_score") -> tuple[tuple[int, ...], int]:
    """Event-coin pairs at each of RATES episodes a coin-day, by a threshold of the score for each coin."""
    hits, possible = np.zeros(len(RATES), dtype=int), 0
    for symbol in sorted({str(coin) for run in runs for coin in np.unique(run.coins.astype(str))}):
        mine = [(run.coins == symbol) & (run.minutes >= judged(run)) for run in runs]
        minutes = np.concatenate([run.minutes[rows] for run, rows in zip(runs, mine, strict=True)])
        scores = np.concatenate([run.scores[column][rows] for run, rows in zip(runs, mine, strict=True)])
        windows = [event.window for event in present(minutes)]
        quoted_days = len(np.unique(minutes // _DAY))
        for number, rate in enumerate(RATES):
            found = loudest(minutes, scores, rate * quoted_days)
            hits[number] += sum(bool(((found > first) & (found <= last)).any()) for first, last in windows)
        possible += len(windows)
    return tuple(hits.tolist()), possible


def wrong_directions(runs: Sequence[Run]) -> tuple[int, int, list[str]]:
    """Market rows that tell another direction than the median return of the coins up to the peak; all; their times."""
    wrong, rows = [], 0
    for run in runs:
        for row in rows_of(run):
            if row.kind != Kind.MARKET_MOVE.value:
                continue
            rows += 1
            middle = _median_return(run, minute(row.timestamp_before), minute(row.episode_peak))
            if abs(middle) >= _NOTICEABLE and (middle > 0) != (row.direction == "up"):
                wrong.append(f"{row.timestamp:%Y-%m-%d %H:%M}")
    return len(wrong), rows, wrong


def _median_return(run: Run, start: float, end: float) -> float:
    moves = []
    for bars in run.history.bars:
        first, last = np.searchsorted(bars.minutes, (start, end), side="right") - 1
        if first >= 0 and bars.minutes[last] > end - _LATEST and bars.minutes[first] > start - _LATEST:
            moves.append(np.log(bars.prices[last] / bars.prices[first]))
    return float(np.median(moves)) if moves else 0.0


def repeats(runs: Sequence[Run]) -> tuple[int, int]:
    """Alarms at a time at which two other coins have one of the same sign, less one a time; all such alarms."""
    repeated, every = 0, 0
    for run in runs:
        moves = [row for row in alarms(rows_of(run)) if row.kind in (Kind.JUMP.value, Kind.LARGE_MOVE.value)]
        every += len(moves)
        coins: dict[tuple[datetime, str], set[str]] = {}
        for row in moves:
            coins.setdefault((row.timestamp, row.direction), set()).add(row.symbol)
        repeated += sum(len(together) - 1 for together in coins.values() if len(together) >= _TOGETHER)
    return repeated, every


def small(runs: Sequence[Run], counts: Callable[[Anomaly], bool]) -> tuple[int, list[int]]:
    """The alarms about a move, and how many of them are smaller than each of SMALL."""
    sizes = [
        abs(row.move)
        for run in runs
        for row in alarms(rows_of(run))
        if row.kind != Kind.STALE_FEED.value and counts(row)
    ]
    return len(sizes), [sum(size < limit for size in sizes) for limit in SMALL]


def rates(runs: Sequence[Run]) -> dict[tuple[str, str], float]:
    """Alarms a day by kind and severity."""
    counted = Counter((row.kind, row.severity) for run in runs for row in alarms(rows_of(run)))
    return {key: count / days_of(runs) for key, count in counted.items()}


def importance(row: Anomaly) -> tuple[float, float, float]:
    """The order of alarms: by `importance` where it is known, else by severity and p."""
    value = -math.inf if row.importance is None else row.importance
    p = 1.0 if row.p_calibrated is None else row.p_calibrated
    return value, float(_SEVERITIES.index(row.severity)), -p


@dataclass(frozen=True)
class Entry:
    """An episode of the whole market in a ranking: its alarms, the most important first, and the events they notice."""

    file: str
    rows: tuple[Anomaly, ...]
    events: tuple[str, ...]


def ranking(runs: Sequence[Run]) -> list[Entry]:
    """The episodes of the market, the most important first."""
    entries = []
    for run in runs:
        events = events_of(run)
        groups: list[list[Anomaly]] = []
        for row in sorted(alarms(rows_of(run)), key=lambda one: one.timestamp):
            if groups and minute(row.timestamp) - minute(groups[-1][-1].timestamp) <= _MERGED:
                groups[-1].append(row)
            else:
                groups.append([row])
        for group in groups:
            hit = tuple(event.name for event in events if any(inside(row, event) for row in group))
            entries.append(Entry(run.history.file, tuple(sorted(group, key=importance, reverse=True)), hit))
    return sorted(entries, key=lambda entry: importance(entry.rows[0]), reverse=True)


def held(ranked: Sequence[Entry], entries: int) -> int:
    """How many known events the first entries hold."""
    return len({name for entry in ranked[:entries] for name in entry.events})


def alarms_a_day(run: Run, days: int) -> float:
    """Alarms of the first days of a file, from its first quote on."""
    end = run.history.first + days * _DAY
    return sum(minute(row.timestamp) < end for row in alarms(run.rows)) / days
