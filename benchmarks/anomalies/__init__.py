"""How well anomalies are told from ordinary moves: `python -m benchmarks.anomalies`.

Here are the synthetic worlds, the limits no detector can pass, common rules and libraries, the measures
on real prices and the report; the detectors that are measured live in `market_pipeline.anomalies`.
"""
