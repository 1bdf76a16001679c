"""Examine an installation: what is wrong with settings, database, API, Dagster and data, and what to do about it.

Nothing is changed, except that one request to the API is counted in the budget.
"""
