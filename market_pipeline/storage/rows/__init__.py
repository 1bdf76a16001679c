"""Rows in and out of the tables: slices are read, facts upserted, derived slices replaced."""
