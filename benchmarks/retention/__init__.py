"""Ninety days of ticks with the nightly retention: does Dagster's storage stop growing, and does any status change.

`python -m benchmarks.retention` does it on SQLite and PostgreSQL and draws docs/images/retention.png.
"""
