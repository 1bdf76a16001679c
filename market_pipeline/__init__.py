"""Collect cryptocurrency prices from CoinGecko, reject bad data, store history, flag anomalies.

`docs/architecture.md` shows the rooms of the package and which may import which.
"""

__version__ = "0.2.0"
