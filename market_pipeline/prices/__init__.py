"""Prices as they arrive: what a quote is, which ones are refused and why, and how a set of
days is collected with the fewest requests. No Dagster and no SQL here."""
