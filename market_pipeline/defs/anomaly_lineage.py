"""Which stored columns each column of `price_anomalies` is made from, for the UI."""

from market_pipeline.defs.metadata import lineage

_PRICE, _TIME, _SYMBOL = "raw_prices.price", "raw_prices.timestamp", "raw_prices.symbol"
_DOCUMENT, _AS_OF = "detector_calibration.document", "detector_calibration.as_of"
_SCORED = [_PRICE, _TIME]
_CALIBRATED = [_PRICE, _TIME, _DOCUMENT]

_BY_TIME = ("timestamp", "detected_at", "timestamp_before", "elapsed_seconds")
_BY_PRICE = ("price_before", "price_after", "move", "direction")
_BY_BOTH = (
    "kind", "horizon_minutes", "score", "threshold", "quotes_used", "stale_minutes", "quality_flags",
    "confirmation", "confirmed_at", "confirmed_price", "episode_first", "episode_peak", "episode_last",
    # Of the other coins too.
    "scope", "market_z", "beta", "residual_z", "market_share", "peers_moved",
)  # fmt: skip
_BY_CALIBRATION = (
    "severity", "p_raw", "z", "expected_move", "p_calibrated", "expected_every_days", "volatility_annual",
    "volatility_percentile", "hour_factor", "calibration",
)  # fmt: skip
_NAMES = ("id", "episode_id", "event_id")

ANOMALY_LINEAGE = lineage(
    {
        "symbol": [_SYMBOL],
        "coin_id": ["raw_prices.coin_id"],
        "members": [_SYMBOL, *_SCORED],
        "calibrated_at": [_AS_OF],
        "explanation": [_SYMBOL, *_CALIBRATED],
        **dict.fromkeys(_BY_TIME, [_TIME]),
        **dict.fromkeys(_BY_PRICE, [_PRICE]),
        **dict.fromkeys(_BY_BOTH, _SCORED),
        **dict.fromkeys(_BY_CALIBRATION, _CALIBRATED),
        **dict.fromkeys(_NAMES, [_SYMBOL, *_SCORED]),
    }
)
