"""How much a flagged move matters: how rare and how large it is, and whether the market or one coin moved.

A move below the floor, the return over the same time that is usual for the coin, is not worth an alarm. `importance`
orders alarms; the severity follows from it.
"""

import math
from dataclasses import dataclass
from statistics import median

from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.anomalies.calibration import Calibration, floor
from market_pipeline.anomalies.parameters import DetectionSettings
from market_pipeline.anomalies.rules.score_table import ScoreTable

# Return periods are ordered up to this many days: beyond it nothing is known of how much rarer a move is.
_LONGEST = 3_650.0
# What a move of the market counts for beyond one of a single coin.
_MARKET = 1.0
# In a coin with coarse prices a single step may be the rounding of a move of nothing.
_STEPS = 1.5
# An outage of this many minutes, and of this many times the limit, is an alert.
_LONG = 120.0
_LONG_LIMITS = 2.0


@dataclass(frozen=True)
class Materiality:
    """The least move of a coin, as a simple return, that is worth an alarm."""

    table: ScoreTable
    calibration: Calibration | None
    settings: DetectionSettings

    def floor(self, at: int, minutes: float) -> float:
        """Return the floor of the coin at a position for a move over so many minutes; 0 without materiality."""
        if not self.settings.materiality:
            return 0.0
        return self.settings.materiality * floor(self.calibration, self.table.symbol(at), minutes)

    def market_floor(self, moment: int, minutes: float) -> float:
        """Return the floor of the market: the median of those of its coins at a time."""
        latest = self.table.latest(moment)
        floors = [self.floor(at, minutes) for at in latest.tolist() if at >= 0]
        return median(floors)

    def is_material(self, before: int, at: int) -> bool:
        """Return whether the move between two quotes reaches the floor and is more than one coarse price step."""
        if abs(self.table.log_move(before, at)) < _STEPS * self.table.number("coarse_step", at):
            return False
        return abs(self.table.move(before, at)) >= self.floor(at, self.table.seconds(before, at) / 60)


def importance_of(days: float, move: float, *, market_wide: bool) -> float:
    """Return the rank of a `move` (a simple return) that is expected once in `days` (NaN if unknown).

    It is log10 of days x percent^2, and of ten times that for a move of the market: chosen among a few such forms by
    how many known events the first 50 and 100 episodes hold (docs/decisions/0023).
    """
    rarity = math.log10(min(max(days, 1.0), _LONGEST)) if days > 0 else 0.0
    size = 2 * math.log10(max(100 * abs(move), 1.0))
    return rarity + size + (_MARKET if market_wide else 0.0)


def severity_of(importance: float, settings: DetectionSettings) -> Severity:
    """Return the severity of a rank."""
    if importance >= settings.critical_importance:
        return Severity.CRITICAL
    return Severity.ALERT if importance >= settings.alert_importance else Severity.WATCH


def outage_severity(minutes: float, limit: float) -> Severity:
    """Return the severity of a silence of so many minutes, which is flagged from `limit` minutes on."""
    return Severity.ALERT if minutes >= max(_LONG, _LONG_LIMITS * limit) else Severity.WATCH
