"""How rare a flagged quote is, in words and in days."""

import math

from market_pipeline.anomalies.anomaly import Severity
from market_pipeline.anomalies.detection_settings import DetectionSettings

_SECONDS_PER_DAY = 86_400.0


def severity_of(p: float, settings: DetectionSettings) -> Severity:
    """By the calibrated probability per quote; watch where it is not known."""
    if p < settings.critical_p:
        return Severity.CRITICAL
    return Severity.ALERT if p < settings.alert_p else Severity.WATCH


def expected_every_days(p: float, gap_seconds: float) -> float:
    """Once in how many days a quote with this probability comes, at one quote every `gap_seconds`.

    NaN where either is not known.
    """
    return gap_seconds / _SECONDS_PER_DAY / p if p > 0 else math.nan
