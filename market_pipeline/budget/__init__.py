"""The request budget that every process shares: how many requests may be sent, when, and what they cost.

`shared` enforces the minute limit and the monthly credits, by the pure functions of `rules`. The state is one row per
account in the database of the prices, and every decision uses that database's clock. `plan_limits` has the limits of
CoinGecko's plans; `client_limits` is the API's own limit per client. No Dagster here.
"""
