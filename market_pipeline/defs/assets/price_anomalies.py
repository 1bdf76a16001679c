"""The asset `price_anomalies`: the flagged quotes of each day, scored with the days before it."""

import dagster as dg

from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.defs.assets.detector_calibration import DETECTOR_CALIBRATION
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import GROUP, OWNERS, lineage, table_metadata
from market_pipeline.defs.io_manager import Scored
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, days_of, lead_mapping, partition_key
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables

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


PRICE_ANOMALIES = "price_anomalies"

_PRICES = ["symbol", "timestamp", "price"]


def build_price_anomalies(partitions: dg.MultiPartitionsDefinition, kinds: set[str]) -> dg.AssetsDefinition:
    """The asset over the same partitions as `raw_prices`."""

    @dg.asset(
        name=PRICE_ANOMALIES,
        description="Flagged quotes of each day: jumps, large moves, moves of the whole market, bad ticks, feeds "
        f"that stand still. A day is scored with its own quotes and those of the {LEAD_DAYS} days before it, of all "
        "symbols, and with the calibration that was known when it began, so that computing it again, alone or in a "
        "range, gives the same rows. Each row says what moved, by how much, what was expected, how rare that is, "
        "and whether the market moved too.",
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
        ins={RAW_PRICES: dg.AssetIn(partition_mapping=lead_mapping(), metadata={"columns": _PRICES})},
        deps=[DETECTOR_CALIBRATION],
        code_version=DETECTOR_VERSION,
        metadata={
            **table_metadata(tables.price_anomalies, write_mode="replace"),
            "dagster/column_lineage": ANOMALY_LINEAGE,
        },
        group_name=GROUP,
        owners=OWNERS,
        kinds=kinds,
    )
    @logged_step
    def price_anomalies(
        context: dg.AssetExecutionContext, raw_prices: Columns, database: dg.ResourceParam[Database]
    ) -> dg.Output[Scored]:
        from market_pipeline.pipeline.score import flagged, partition_numbers, rows_of
        from market_pipeline.storage.queries.scores import newest_scored

        wanted = days_of(context.partition_keys)
        anomalies = flagged(database, raw_prices, wanted)
        for day, numbers in partition_numbers(anomalies, wanted).items():
            context.add_asset_metadata(numbers, partition_key=partition_key(*day))
        scored = Scored(rows_of(database, anomalies), newest_scored(raw_prices, wanted, utc_now()))
        return dg.Output(scored, data_version=_data_version(context.run.run_id))

    return price_anomalies


def is_of_these_detectors(data_version: str) -> bool:
    """Whether a materialization of this data version was made by detectors and parameters as they are now."""
    return data_version.startswith(f"{DETECTOR_VERSION} ")


def _data_version(run_id: str) -> dg.DataVersion:
    """New with every run, and telling which detectors were at work: the code version alone cannot be
    asked for many partitions at once."""
    return dg.DataVersion(f"{DETECTOR_VERSION} {run_id}")
