"""Whether a calibrated p means what it says: alarms out of sample against the number it promises.

Every week of the real bars is scored with a calibration of what was known before it. Weeks with less than 30
days of history before them are left out. Beside it the same count for an EWMA whose score is taken for
Gaussian.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.anomalies.ours import as_frame, with_past_calibration
from benchmarks.anomalies.peers import aligned
from benchmarks.anomalies.prices import Bars, by_file
from benchmarks.anomalies.rivals import ewma_clock_fresh
from benchmarks.anomalies.volatility import Floats

NOMINAL = (1e-3, 2e-4)
_LEAST_HISTORY_DAYS = 30
_REFRESH_DAYS = 7
_LEAD_DAYS = 7  # that a day is scored together with


@dataclass(frozen=True)
class Segment:
    """A part of the rows: a coin, or a coin's calendar month."""

    name: str
    expected: float
    alarms: int

    @property
    def ratio(self) -> float:
        return self.alarms / self.expected

    @property
    def by_chance(self) -> bool:
        """Whether independent alarms at the nominal rate give such a number 95 times in 100 (Poisson)."""
        from scipy.stats import poisson

        below, above = poisson.interval(0.95, self.expected)
        return bool(below <= self.alarms <= above)


@dataclass(frozen=True)
class Adherence:
    """Alarms of one detector at one nominal rate."""

    title: str
    nominal: float
    rows: int
    alarms: int
    months: tuple[Segment, ...]  # of each coin
    coins: tuple[Segment, ...]

    @property
    def ratio(self) -> float:
        return self.alarms / (self.nominal * self.rows)

    @property
    def error(self) -> float:
        """Standard error of the ratio if alarms were independent of each other, which they are not quite."""
        return float(np.sqrt(max(self.alarms, 1))) / (self.nominal * self.rows)


def measure(series: Sequence[Bars]) -> list[Adherence]:
    """The package's jump score first, then the Gaussian EWMA, at each nominal rate."""
    ours, gaussian = [], []
    for bars in by_file(list(series)).values():
        panel = aligned(bars)
        frame = as_frame(panel)
        begin = frame["timestamp"].min() + pd.Timedelta(days=_LEAST_HISTORY_DAYS)
        parts = list(with_past_calibration(frame, _REFRESH_DAYS, _LEAD_DAYS))
        scored = pd.concat([part[part["timestamp"] >= begin] for part in parts])
        ours.append(_p_values(scored, scored["jump_p"].to_numpy(np.float64)))
        frame["p"] = np.concatenate([_gaussian_p(*quotes) for quotes in panel.values()])
        later = frame[frame["timestamp"] >= begin]
        gaussian.append(_p_values(later, later["p"].to_numpy(np.float64)))
    rows = []
    for title, tables in (("jump, calibrated (ours)", ours), ("EWMA taken for Gaussian", gaussian)):
        table = pd.concat(tables)
        rows += [_count(title, table, nominal) for nominal in NOMINAL]
    return rows


def _gaussian_p(minutes: Floats, prices: Floats) -> Floats:
    from scipy.special import erfc

    p: Floats = erfc(ewma_clock_fresh(minutes, prices) / np.sqrt(2))
    return p


def _p_values(rows: pd.DataFrame, p: Floats) -> pd.DataFrame:
    coins = rows["symbol"].astype(str)
    months = coins + " " + rows["timestamp"].dt.strftime("%Y-%m")
    return pd.DataFrame({"coin": coins.array, "month": months.array, "p": np.nan_to_num(p, nan=1.0)})


def _count(title: str, table: pd.DataFrame, nominal: float) -> Adherence:
    alarm = table["p"] < nominal
    months, coins = (_segments(alarm, table[column], nominal) for column in ("month", "coin"))
    return Adherence(title, nominal, len(table), int(alarm.sum()), months, coins)


def _segments(alarm: pd.Series, names: pd.Series, nominal: float) -> tuple[Segment, ...]:
    found = alarm.groupby(names).agg(["size", "sum"])
    rows = zip(found.index, found["size"], found["sum"], strict=True)
    return tuple(Segment(str(name), nominal * int(size), int(alarms)) for name, size, alarms in rows)
