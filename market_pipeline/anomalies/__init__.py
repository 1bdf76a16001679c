"""Flagging unusual price moves: volatility, detectors, explanations and the overview chart.

NumPy and plain Python; no Dagster, no SQL, no DataFrames.
"""
