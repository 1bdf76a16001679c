"""The tables, their column types, and whether a database has them."""
