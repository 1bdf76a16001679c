"""Alarms as the detectors make them."""

from dataclasses import fields

from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline_tests.builders import anomaly_row


def alarm(severity: str, name: str) -> Anomaly:
    """An alarm of BTC of this severity, whose episode has this name."""
    row = anomaly_row(severity=severity, id=name, episode_id=name)
    return Anomaly(**{field.name: row[field.name] for field in fields(Anomaly)})
