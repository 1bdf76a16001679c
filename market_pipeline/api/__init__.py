"""The HTTP API: prices, anomalies and the state of the pipeline, without the Dagster UI.

HTTP only: what an endpoint reads or does is a query of `storage` or a use case of `pipeline`, as for the assets.
"""
