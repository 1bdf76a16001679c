"""What is wrong, and what to do about it: examinations of settings, database, API, Dagster and data.

Nothing here changes anything, but for the one request that is counted in the budget like any other.
"""
