"""The tails of the scores where too little past is known: those of five large coins, a little heavier."""

from market_pipeline.anomalies.scores.tails import Tail

SCORES = ("jump", "large_move", "residual", "market")

# From 5-minute and hourly prices of BTC, ETH, SOL, ADA and DOT, early 2023: docs/decisions/0008.
PRIOR_TAILS = {
    ("jump", "short"): Tail(1.8, 0.02, 0.25, 0.7, 0),
    ("jump", "long"): Tail(2.0, 0.02, 0.2, 0.7, 0),
    ("large_move", "short"): Tail(6.0, 0.02, 0.3, 2.0, 0),
    ("large_move", "long"): Tail(5.5, 0.02, 0.3, 1.8, 0),
    ("residual", "short"): Tail(2.0, 0.02, 0.3, 0.9, 0),
    ("residual", "long"): Tail(2.9, 0.02, 0.2, 1.6, 0),
    ("market", "short"): Tail(5.0, 0.02, 0.3, 1.6, 0),
    ("market", "long"): Tail(4.8, 0.02, 0.25, 1.4, 0),
}
