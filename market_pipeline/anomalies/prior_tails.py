"""The tails of the scores where too little past is known: those of five large coins, a little heavier."""

from market_pipeline.anomalies.tails import Tail

# From 5-minute and hourly prices of BTC, ETH, SOL, ADA and DOT: docs/decisions/0008.
PRIOR_TAILS = {
    ("jump", "short"): Tail(1.8, 0.02, 0.2, 0.6, 0),
    ("jump", "long"): Tail(1.8, 0.02, 0.2, 0.6, 0),
    ("large_move", "short"): Tail(4.0, 0.02, 0.2, 1.5, 0),
    ("large_move", "long"): Tail(4.0, 0.02, 0.2, 1.5, 0),
    ("residual", "short"): Tail(2.0, 0.02, 0.2, 0.6, 0),
    ("residual", "long"): Tail(2.0, 0.02, 0.2, 0.6, 0),
    ("market", "short"): Tail(4.0, 0.02, 0.2, 1.5, 0),
    ("market", "long"): Tail(4.0, 0.02, 0.2, 1.5, 0),
}
