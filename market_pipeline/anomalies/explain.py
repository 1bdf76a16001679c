"""The one plain sentence of an anomaly: what happened, when, and against what it stands out."""

from datetime import datetime

from market_pipeline.anomalies.wording import (
    format_duration, format_interval, format_percent, format_price, format_ratio,
)


def describe_move(
    symbol: str, move: float, price_before: float, price_after: float, start: datetime, end: datetime
) -> str:
    """What happened: `SOL fell 15.2 % from $18.32 to $15.53 in 5 min (2023-06-10 04:10-04:15 UTC)`.

    `move` is a simple return, prices are US dollars, times are aware.
    """
    verb = "rose" if move > 0 else "fell"
    elapsed = format_duration((end - start).total_seconds())
    return (
        f"{symbol} {verb} {format_percent(move)} from {format_price(price_before)} "
        f"to {format_price(price_after)} in {elapsed} ({format_interval(start, end)})"
    )


def against_limit(limit: float) -> str:
    """The reason of a rule with a fixed limit (a simple return)."""
    return f"more than the {limit * 100:g} % limit"


def against_usual(move: float, expected_move: float) -> str:
    """The reason of a score: how many times the usual move it was (both simple returns).

    The ratio is the one of the two printed percents. A score on log returns is a little larger for
    a fall and a little smaller for a rise.
    """
    ratio = format_ratio(abs(move) / expected_move)
    return f"{ratio} times the {format_percent(expected_move)} that is usual for this interval"
