"""Rules that turn scores into anomalies: `flags` finds candidates, the others merge, link and drop them.

`anomaly_rows` makes the stored rows and decides the severity of each; the limits are in `parameters`.
"""
