"""Schedules and the sensor: when runs start, and over which partitions."""
