"""The CoinGecko client: transport, retries, errors and the models of answers.

No Dagster, no SQL, no validation of prices (see `prices.validation`).
"""
