"""The asset checks and their verdicts."""
