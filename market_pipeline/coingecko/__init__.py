"""Talking to CoinGecko: the client, its transport and retries, the request budget, the errors and
the models of answers. No Dagster, no SQL, no judgement of prices here (see `prices.validate`)."""
