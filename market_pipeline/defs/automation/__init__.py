"""Schedules and sensors, and the decisions behind them."""
