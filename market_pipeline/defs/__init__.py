"""The Dagster side: partitions, assets, checks, jobs, schedules, resources and the IO manager.

It holds no HTTP and no SQL beyond a call into the core, and no decision that the core could make.
"""
