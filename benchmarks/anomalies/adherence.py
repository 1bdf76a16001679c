"""Whether a calibrated p means what it says: alarms out of sample against the number it promises.

Every week of the real bars is scored with a calibration from the 90 days before it. Weeks with less than 30
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
class Adherence:
    """Alarms of one detector at one nominal rate; a segment is a symbol's calendar month."""

    title: str
    nominal: float
    rows: int
    alarms: int
    segments: tuple[tuple[str, float, int], ...]  # name, alarms expected, alarms counted

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
    from scipy.special import erfc  # type: ignore[import-untyped]

    p: Floats = erfc(ewma_clock_fresh(minutes, prices) / np.sqrt(2))
    return p


def _p_values(rows: pd.DataFrame, p: Floats) -> pd.DataFrame:
    months = rows["timestamp"].dt.strftime("%Y-%m")
    segment = rows["symbol"].astype(str) + " " + months
    return pd.DataFrame({"segment": segment.to_numpy(), "p": np.nan_to_num(p, nan=1.0)})


def _count(title: str, table: pd.DataFrame, nominal: float) -> Adherence:
    alarm = table["p"] < nominal
    grouped = alarm.groupby(table["segment"])
    segments = tuple(
        (str(name), nominal * int(size), int(count))
        for name, size, count in zip(grouped.size().index, grouped.size(), grouped.sum(), strict=True)
    )
    return Adherence(title, nominal, len(table), int(alarm.sum()), segments)
