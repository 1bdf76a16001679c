"""The use cases, without Dagster: collect, calibrate, score, find missing days, replay, check coin ids, report."""
