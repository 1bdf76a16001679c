"""Flagging unusual price moves: volatility, detectors, explanations and the overview chart.

NumPy and plain Python; no Dagster, no SQL, no DataFrames.
"""

# A day is scored with its own quotes and those of this many days before it.
LEAD_DAYS = 7
