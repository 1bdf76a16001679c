"""Anomalies in sentences, which a person reads in an alarm."""
