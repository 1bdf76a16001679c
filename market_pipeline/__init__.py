"""Collect cryptocurrency prices from CoinGecko, refuse bad data, store history, flag anomalies.

`coingecko`, `prices`, `anomalies` and `storage` are plain typed Python and import no Dagster;
`defs` is the Dagster side and holds no HTTP and no SQL beyond a call.
"""

__version__ = "0.1.0"
