"""The checks of `raw_prices`, in one step that asks the database and loads nothing.

ERROR wakes somebody, WARN is read in the morning. The first two block the anomalies when rows that
must not exist are stored; what was refused before it reached the table only warns.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from market_pipeline.clock import utc_now
from market_pipeline.defs.check_names import FRESH, FUTURE, NEGATIVE, QUOTED, REJECTED
from market_pipeline.defs.log_fields import logged_step
from market_pipeline.defs.partitions import days_of
from market_pipeline.defs.raw_prices import RAW_PRICES
from market_pipeline.defs.resources import DatabaseResource
from market_pipeline.prices.freshness import oldest_fresh

_SPECS = [
    dg.AssetCheckSpec(
        FUTURE,
        asset=RAW_PRICES,
        blocking=True,
        description="No stored quote lies in the future. Stored ones stop the anomalies; refused ones warn.",
    ),
    dg.AssetCheckSpec(
        NEGATIVE,
        asset=RAW_PRICES,
        blocking=True,
        description="Every stored price is a number above zero. Stored ones that are not stop the anomalies; "
        "refused negative ones warn.",
    ),
    dg.AssetCheckSpec(
        REJECTED,
        asset=RAW_PRICES,
        description="Nothing was refused in this run for any other reason (missing, zero, not a number, outside "
        "the window, no readable time).",
    ),
    dg.AssetCheckSpec(
        QUOTED,
        asset=RAW_PRICES,
        description="Every symbol of the run got a quote in every day of the run.",
    ),
    dg.AssetCheckSpec(
        FRESH,
        asset=RAW_PRICES,
        description="The newest quote of each symbol is not older than the last tick but one.",
    ),
]


def build_checks(symbols: Sequence[str], collect_cron: str) -> dg.AssetChecksDefinition:
    """The checks; what is fresh follows from when prices are collected."""

    @dg.multi_asset_check(name="check_prices", specs=_SPECS, can_subset=True)
    @logged_step
    def check_prices(
        context: dg.AssetCheckExecutionContext, database: DatabaseResource
    ) -> Iterator[dg.AssetCheckResult]:
        from market_pipeline.defs.price_checks import verdicts

        store, now = database.database(), utc_now()
        selected = {key.name for key in context.selected_asset_check_keys}
        # A run without partitions (checks executed alone from the UI) looks at today.
        keys = context.partition_keys if context.has_partition_key_range or context.has_partition_key else []
        days = days_of(keys) or [(now.date(), symbol) for symbol in symbols]
        yield from verdicts(
            store, context.run.run_id, days, symbols, now, oldest_fresh(collect_cron, now), selected,
            lambda: _clock_complaint(context.instance),
        )

    return check_prices


def _clock_complaint(instance: dg.DagsterInstance) -> str:
    """What the last collection found wrong with our clock; empty if nothing. One query."""
    from market_pipeline.prices.clock_skew import complaint
    from market_pipeline.storage.arrivals import CLOCK_SKEW

    last = instance.get_latest_materialization_event(dg.AssetKey(RAW_PRICES))
    metadata = last.asset_materialization.metadata if last and last.asset_materialization else {}
    skew = metadata.get(CLOCK_SKEW)
    return complaint(skew.value if isinstance(skew, dg.FloatMetadataValue) else None)
