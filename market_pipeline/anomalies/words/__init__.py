"""Anomalies in sentences."""
