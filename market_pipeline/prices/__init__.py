"""Prices: quotes, refusals (`validation` decides), and how days are fetched with the fewest requests.

No Dagster and no SQL here.
"""
