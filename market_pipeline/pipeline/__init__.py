"""The use cases, without Dagster: collect, calibrate, score, find missing days, judge the state of the chain."""
