"""The request budget that every process shares: how many requests may be sent, when, and what they cost.

Its state is one row for each account in the database that the prices live in, and every decision is made by
that database's clock. What may be granted is decided by the pure functions of `rules`. No Dagster here.
"""
