"""Queries, one question per file; each reads index ranges only."""
