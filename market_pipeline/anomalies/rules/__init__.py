"""From scores to anomalies: what is flagged, what belongs together, what later quotes decide."""
