"""Rows in and out of the tables: slices read, facts upserted, derived slices replaced."""
