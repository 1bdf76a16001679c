"""The assets, each with the metadata that the UI shows of it."""
