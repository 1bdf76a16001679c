"""The HTTP API: prices, anomalies and the state of the pipeline for whoever does not open the Dagster UI.

What an endpoint answers stands here; what it asks for is the core's, and the same as the assets use.
"""
