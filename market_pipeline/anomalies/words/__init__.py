"""The sentences that explain anomalies."""
