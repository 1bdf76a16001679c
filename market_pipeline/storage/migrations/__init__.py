"""The migrations of the schema for Alembic: one file a revision."""
