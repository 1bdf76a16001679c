"""A CoinGecko on loopback: the same paths, parameters, answers, limits and error bodies, over a
market model or recorded prices, with faults on demand and a request log.

It serves the demo, the tests and the benchmarks. It knows nothing of the rest of the package
except the clock and the symbol catalogue. No Dagster.
"""
