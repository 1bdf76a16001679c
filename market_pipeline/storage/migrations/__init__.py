"""Alembic's folder: how the tables came to be what `tables` says. One file per revision."""
