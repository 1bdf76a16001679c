"""The asset `detector_calibration`: the usual behaviour of each coin, learned once a day from the days before.

A calibration made during a day is for the next one: its as-of time is the coming midnight. So it changes no row of
the present day, and every later day is scored with what was known when it began. Where days have none, as on a first
start, it is made up for from the quotes before them (`pipeline/calibrate.py`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import dagster as dg

from market_pipeline.anomalies.calibration import ALL_COINS, Calibration, tail_of
from market_pipeline.anomalies.marks import MarkCounts
from market_pipeline.anomalies.parameters import DETECTOR_VERSION, MINUTES_PER_YEAR
from market_pipeline.anomalies.scores.tails import OWN, PEAKS, POOLED, PRIOR
from market_pipeline.anomalies.series import CADENCES
from market_pipeline.core.clock import utc_now
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.nonpublic import NEVER_MATERIALIZED
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import DETECT, EVERY_DAY, OWNERS, records_table, table_metadata
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.pipeline.calibrate import CalibrationResult, calibrate_due
from market_pipeline.pipeline.missing_days import days_to_repair
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.anomaly_marks import mark_counts
from market_pipeline.storage.schema import tables
from market_pipeline.storage.schema.migrate import check_schema

DETECTOR_CALIBRATION = "detector_calibration"

# Calibrations are only ever added, each for later days: a day that has been scored must not show as outdated.
_NOTHING_CHANGED = dg.DataVersion(NEVER_MATERIALIZED)


def build_detector_calibration(settings: Settings, database_kind: str) -> dg.AssetsDefinition:
    """Define the unpartitioned calibration from the prices of all coins of `settings`."""

    @dg.asset(
        name=DETECTOR_CALIBRATION,
        description="The usual behaviour: how volatile each hour of the day and each coin is, and how often each "
        "score occurred, learned from the last 90 days of all symbols and from the highest scores of the days of up "
        "to two years. Made once a day for the days from the coming "
        "midnight on, and stored with that as-of time; for days without one it is made up for from the quotes before "
        "them. That of a past day never changes, so that scoring the day again gives the same rows.",
        deps=[RAW_PRICES],
        code_version=DETECTOR_VERSION,
        metadata=table_metadata(tables.detector_calibrations, write_mode="insert"),
        group_name=DETECT,
        owners=OWNERS,
        tags=EVERY_DAY,
        kinds={"numpy", "table", database_kind},
    )
    @logged_step
    def detector_calibration(
        context: dg.AssetExecutionContext, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        now = utc_now()
        missing = any(day.due for day in days_to_repair(database, settings, now))
        made = calibrate_due(database, settings.catalogue.symbols, now, missing=missing)
        metadata = calibration_metadata(made) | {"marks": records_table(_marks(mark_counts(database)))}
        return dg.MaterializeResult(metadata=metadata, data_version=_NOTHING_CHANGED)

    return detector_calibration


_BASES = {OWN: "its own", POOLED: "that of all symbols"}

_NOTHING = (
    "Nothing was stored: there are no quotes of the last 90 days to calibrate from. Until then the prior judges the "
    "scores. Once prices have been collected the next try is within the hour."
)


def calibration_metadata(made: CalibrationResult) -> dict[str, Any]:
    """Return the metadata of one materialization."""
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


def _marks(counts: Sequence[MarkCounts]) -> list[Mapping[str, Any]]:
    """Return what people say of the anomalies of each kind; precision is real / (real + noise)."""
    return [
        {**asdict(of_kind), "precision": None if of_kind.precision is None else round(of_kind.precision, 3)}
        for of_kind in counts
    ]


def _sentence(made: CalibrationResult, calibration: Calibration) -> str:
    quotes = sum(coin.quotes for coin in calibration.coins.values())
    by_source: dict[str, list[str]] = {}
    for symbol in calibration.coins:
        by_source.setdefault(_tails_of(calibration, symbol), []).append(symbol)
    tails = "; ".join(f"{source} for {', '.join(symbols)}" for source, symbols in by_source.items())
    text = (
        f"From {counted(quotes, 'quote')} of {counted(len(calibration.coins), 'symbol')}, for the days from "
        f"{made.as_of.date()} on. Tails: {tails}."
    )
    if made.without_quotes:
        text += f" Nothing was stored for {', '.join(made.without_quotes)}: no quotes in the last 90 days."
    if not made.new:
        return f"Unchanged: a stored calibration is final. {text}"
    if before := [symbol for symbol in calibration.coins if symbol not in made.new]:
        text = f"Stored for {', '.join(made.new)}; unchanged for {', '.join(before)}. {text}"
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
    """Return what the probabilities of a coin's jumps mostly rest on, at each cadence where that is not the prior."""
    tails = ((cadence, tail_of(calibration, symbol, "jump", cadence)) for cadence in CADENCES)
    known = [
        f"{_BASES[tail.basis]} of {tail.days:,.0f} days of {cadence} quotes"
        for cadence, tail in tails
        if tail.basis != PRIOR
    ]
    return " and ".join(known) or "the prior"


def _tails(calibration: Calibration) -> list[Mapping[str, Any]]:
    rows: list[Mapping[str, Any]] = []
    for key, tail in calibration.tails.items():
        symbol, score, cadence = key.rsplit(" ", 2)
        rows.append(
            {
                "symbol": "all" if symbol == ALL_COINS else symbol,
                "score": score,
                "cadence": cadence,
                "counts": "days" if score in PEAKS else "quotes",
                "days": round(tail.days),
                "threshold": round(tail.threshold, 3),
                "share_above": round(tail.share, 5),
                "shape": round(tail.shape, 3),
                "scale": round(tail.scale, 3),
                "scores": tail.scores,
                "excesses": tail.excesses,
            }
        )
    return rows
