"""A CoinGecko on 127.0.0.1: its paths, answers, limits and error bodies, with faults on demand and a request log.

It serves a market model or recorded prices to the demo, the tests and the benchmarks. It knows nothing of the rest of
the package except `core` and `logs`.
"""
