"""What the asset `detector_calibration` shows of a calibration: a sentence, numbers, and tables."""

import math
from collections.abc import Mapping
from typing import Any

import dagster as dg

from market_pipeline.anomalies.calibration import ALL, Calibration
from market_pipeline.anomalies.parameters import MINUTES_PER_YEAR
from market_pipeline.defs.calibrating import Made
from market_pipeline.defs.metadata import records_table

_NOTHING = (
    "Nothing was stored: there are no quotes of the last 90 days to calibrate from. Until there are, scores "
    "are judged by the prior. Once prices have been collected this is tried again within the hour."
)


def calibration_metadata(made: Made) -> dict[str, Any]:
    """The metadata of one materialization."""
    if made.calibration is None:
        return {"summary": _NOTHING, "stored": False}
    calibration = made.calibration
    return {
        "summary": _sentence(made, calibration),
        "stored": bool(made.new),
        "as_of": dg.MetadataValue.timestamp(made.as_of),
        "detector_version": calibration.detector_version,
        **{f"quotes_{symbol}": coin.quotes for symbol, coin in calibration.coins.items()},
        "coins": records_table(_coins(calibration)),
        "hour_factors": records_table(
            [{"hour_utc": f"{hour:02d}", "factor": round(f, 3)} for hour, f in enumerate(calibration.hours)]
        ),
        "tails": records_table(_tails(calibration)),
    }


def _sentence(made: Made, calibration: Calibration) -> str:
    quotes = sum(coin.quotes for coin in calibration.coins.values())
    by_source: dict[str, list[str]] = {}
    for symbol in calibration.coins:
        by_source.setdefault(_tails_of(calibration, symbol), []).append(symbol)
    tails = "; ".join(f"{source} for {', '.join(symbols)}" for source, symbols in by_source.items())
    text = (
        f"From {quotes:,} quotes of {len(calibration.coins)} symbols, for the days from {made.as_of.date()} "
        f"on. Tails: {tails}."
    )
    if made.without_quotes:
        text += f" Nothing was stored for {', '.join(made.without_quotes)}: no quotes of the last 90 days."
    if not made.new:
        return f"Kept as it was stored before: a calibration is never changed. {text}"
    if kept := [symbol for symbol in calibration.coins if symbol not in made.new]:
        text = f"Stored for {', '.join(made.new)}; kept as stored before for {', '.join(kept)}. {text}"
    return text


def _coins(calibration: Calibration) -> list[Mapping[str, Any]]:
    return [
        {
            "symbol": symbol,
            "quotes": coin.quotes,
            "days": round(coin.days, 1),
            "usual_volatility_percent_per_year": round(
                100 * math.exp(coin.level) * math.sqrt(MINUTES_PER_YEAR), 1
            ),
            "tails": _tails_of(calibration, symbol),
        }
        for symbol, coin in calibration.coins.items()
    ]


def _tails_of(calibration: Calibration, symbol: str) -> str:
    """Which tails judge the scores of a coin."""
    for name, words in ((symbol, "its own (gpd)"), (ALL, "that of all symbols (gpd)")):
        if any(key.startswith(f"{name} ") for key in calibration.tails):
            return words
    return "the prior"


def _tails(calibration: Calibration) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for key, tail in calibration.tails.items():
        symbol, score, interval = key.rsplit(" ", 2)
        rows.append(
            {
                "symbol": "all" if symbol == ALL else symbol,
                "score": score,
                "interval": interval,
                "threshold": round(tail.threshold, 3),
                "share_above": round(tail.share, 5),
                "shape": round(tail.shape, 3),
                "scale": round(tail.scale, 3),
                "scores": tail.scores,
            }
        )
    return rows
