"""Prices: what a quote is, which points are refused and why, and how days are fetched with the fewest requests.

No Dagster and no SQL here.
"""
