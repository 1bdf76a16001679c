"""The names of the checks, as the UI, alerts and history know them."""

FUTURE = "no_future_timestamps"
NEGATIVE = "no_negative_prices"
REJECTED = "no_rejected_quotes"
QUOTED = "every_symbol_quoted"
FRESH = "quotes_are_fresh"
LISTED = "coin_ids_are_listed"
ONE_COIN = "prices_are_of_one_coin"
