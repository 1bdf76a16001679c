"""The asset checks and their results."""
