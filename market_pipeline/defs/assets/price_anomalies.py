"""The asset `price_anomalies`: the flagged quotes of each day, scored with the days before it."""

import warnings
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import dagster as dg

from market_pipeline.alerts.anomalies import raise_anomalies
from market_pipeline.alerts.texts import Place
from market_pipeline.anomalies import LEAD_DAYS
from market_pipeline.anomalies.anomaly import Anomaly
from market_pipeline.anomalies.parameters import DETECTOR_VERSION
from market_pipeline.core.clock import utc_now
from market_pipeline.core.columns import Columns
from market_pipeline.core.links import symbol_page
from market_pipeline.dagster_instance.nonpublic import describe_partitions
from market_pipeline.dagster_instance.reports import as_metadata
from market_pipeline.defs.assets.detector_calibration import DETECTOR_CALIBRATION
from market_pipeline.defs.assets.raw_prices import RAW_PRICES
from market_pipeline.defs.assets.table_metadata import DETECT, EVERY_TICK, OWNERS, table_metadata
from market_pipeline.defs.io_manager import Scored
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.defs.partitions import SINGLE_RUN, days_of, lead_mapping, partition_key
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.score import anomaly_facts, anomaly_rows, new_alarms, score_days
from market_pipeline.settings import Settings
from market_pipeline.storage.engine import Database
from market_pipeline.storage.queries.scores import newest_scored
from market_pipeline.storage.schema import tables

logger = get_logger(__name__)

PRICE_ANOMALIES = "price_anomalies"

_PRICE, _TIME, _SYMBOL = "raw_prices.price", "raw_prices.timestamp", "raw_prices.symbol"
_DOCUMENT = "detector_calibration.document"
# The columns of an anomaly by what they are made from; `detector_version` comes from the code.
_MADE_FROM = {
    (_SYMBOL,): ("symbol",),
    (_TIME,): ("timestamp", "timestamp_before", "detected_at", "elapsed_seconds", "cadence"),
    (_PRICE,): ("price_before", "price_after", "move", "direction"),
    (_PRICE, _TIME): (
        "kind", "horizon_minutes", "score", "threshold", "quotes_used", "stale_minutes", "quality_flags",
        "confirmation", "confirmed_at", "confirmed_price", "episode_first", "episode_peak", "episode_last",
        # These depend on the other coins too.
        "scope", "market_z", "market_move", "beta", "residual_z", "market_share", "peers_moved",
    ),
    (_PRICE, _TIME, _DOCUMENT): (
        "severity", "importance", "p_raw", "z", "expected_move", "p_calibrated", "expected_every_days",
        "volatility_annual", "volatility_percentile", "hour_factor", "calibration",
        "calibration_days", "calibration_excesses",
    ),
    (_SYMBOL, _PRICE, _TIME): ("id", "episode_id", "event_id", "members"),
    (_SYMBOL, _PRICE, _TIME, _DOCUMENT): ("headline", "explanation"),
    ("raw_prices.coin_id",): ("coin_id",),
    ("detector_calibration.as_of",): ("calibrated_at",),
}


def build_price_anomalies(
    partitions: dg.MultiPartitionsDefinition, settings: Settings, database_kind: str
) -> dg.AssetsDefinition:
    """Define the asset over the partitions of `raw_prices`."""

    @dg.asset(
        name=PRICE_ANOMALIES,
        description="Flagged quotes of each day: jumps, large moves, moves of the whole market, bad ticks, stale "
        f"feeds. A day is scored with its own quotes, those of the {LEAD_DAYS} days before it and of the morning after "
        "it, of all symbols, and with the calibration that was known when it began: computing it again, alone or in a "
        "range, gives the same rows. Each row states what moved, by how much, what was expected, how rare that is, and "
        "whether the market moved too.",
        partitions_def=partitions,
        backfill_policy=SINGLE_RUN,
        ins={
            RAW_PRICES: dg.AssetIn(
                partition_mapping=lead_mapping(settings.catalogue.symbols),
                metadata={"columns": ["symbol", "timestamp", "price"], "days_after": 1, "of_all_symbols": True},
            )
        },
        deps=[DETECTOR_CALIBRATION],
        code_version=DETECTOR_VERSION,
        metadata={
            **table_metadata(tables.price_anomalies, write_mode="replace"),
            "dagster/column_lineage": _lineage(),
        },
        group_name=DETECT,
        owners=OWNERS,
        tags=EVERY_TICK,
        kinds={"numpy", "table", database_kind},
    )
    @logged_step
    def price_anomalies(
        context: dg.AssetExecutionContext, raw_prices: Columns, database: dg.ResourceParam[Database]
    ) -> dg.Output[Scored]:
        days, now = days_of(context.partition_keys), utc_now()
        anomalies = score_days(database, raw_prices, days)
        described: dict[str, Any] = {
            partition_key(*day): {
                **as_metadata(day, facts), "page": dg.MetadataValue.url(symbol_page(settings.api_url, day[1], day[0]))
            }
            for day, facts in anomaly_facts(anomalies, days).items()
        }
        describe_partitions(context, PRICE_ANOMALIES, described)
        newest = newest_scored(raw_prices, days, now)
        alarms = new_alarms(database, anomalies, newest, now)
        # Before the rows are stored: after a crash in between the next run finds them new, and the message is there.
        raise_anomalies(database, alarms, settings.alert_severity, Place("", settings.dagster_ui_url), now)
        _log_alarms(alarms)
        return _output(Scored(anomaly_rows(database, anomalies), newest), now, context.run.run_id)

    return price_anomalies


def _log_alarms(alarms: Sequence[Anomaly]) -> None:
    for alarm in alarms:
        fields = {"symbol": alarm.symbol, "kind": alarm.kind, "severity": alarm.severity, "anomaly_id": alarm.id}
        logger.info("%s: %s", alarm.severity, alarm.headline, extra=fields)


def _output(scored: Scored, now: datetime, run_id: str) -> dg.Output[Scored]:
    """Return the output with a data version that is new with every run and names detectors and time.

    Of all that Dagster stores of a materialization, only its tags can be read for many partitions at once.
    """
    with warnings.catch_warnings():
        # The parameter is beta in Dagster 1.13, which is pinned.
        warnings.simplefilter("ignore", dg.BetaWarning)
        return dg.Output(scored, data_version=dg.DataVersion(f"{DETECTOR_VERSION} {now.isoformat()} {run_id}"))


def scored_at(data_version: str) -> datetime | None:
    """Return when a materialization of this data version was scored; None if by other detectors or parameters."""
    detectors, _, rest = data_version.partition(" ")
    time, _, run_id = rest.partition(" ")
    return datetime.fromisoformat(time) if detectors == DETECTOR_VERSION and run_id else None


def _lineage() -> dg.TableColumnLineage:
    deps = {}
    for sources, columns in _MADE_FROM.items():
        parts = [source.split(".") for source in sources]
        made_from = [dg.TableColumnDep(asset_key=dg.AssetKey(asset), column_name=name) for asset, name in parts]
        deps.update({column: made_from for column in columns})
    return dg.TableColumnLineage(deps)
