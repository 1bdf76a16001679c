"""The database, SQLite or PostgreSQL: engine, schema, rows in and out, and one module of queries for each question.

No Dagster and no HTTP here.
"""
