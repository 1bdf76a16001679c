"""The asset `storage_retention`: keeps Dagster's storage, and if wanted the prices, from growing without a limit.

Its numbers are plotted over time: what was deleted, what is kept and why, and how much disk both stores take.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

from market_pipeline.core.clock import DAY, start_of_day, utc_now
from market_pipeline.core.wording import counted
from market_pipeline.dagster_instance.ownership import LOCATION
from market_pipeline.defs.assets.table_metadata import EVERY_DAY, MONITOR, OWNERS
from market_pipeline.defs.logging.log_fields import logged_step
from market_pipeline.logs import get_logger
from market_pipeline.pipeline.names import DAGSTER_BYTES, PRICES_BYTES, STORAGE_RETENTION
from market_pipeline.settings import Settings
from market_pipeline.storage import disk
from market_pipeline.storage.engine import Database
from market_pipeline.storage.exclusive import exclusive
from market_pipeline.storage.queries.alert_outbox import delete_old_messages
from market_pipeline.storage.queries.thinning import count_superfluous, thin_prices
from market_pipeline.storage.schema.migrate import check_schema

if TYPE_CHECKING:
    from market_pipeline.dagster_instance.retention import Purge

logger = get_logger(__name__)

# A year of ticks takes minutes. Where it takes longer, the next nights go on.
_WITHIN = timedelta(minutes=30)
_LOCK = "retention"
# They are recorded without a watcher, too.
_ALERTS_KEPT = 90 * DAY

Numbers = dict[str, int | float | str | bool]


class RetentionConfig(dg.Config):
    """With `dry_run` nothing is deleted, and the numbers are those of what would be."""

    dry_run: bool = False


def build_storage_retention(settings: Settings) -> dg.AssetsDefinition:
    """Define the unpartitioned asset; each materialization is one purge."""

    @dg.asset(
        name=STORAGE_RETENTION,
        description="Deletes runs that ended more than RUNS_KEEP_DAYS ago if every materialization and check in them "
        "has a newer successor, and thins prices older than RAW_PRICES_KEEP_DAYS to one an hour: how many, what is "
        "kept and why, and the size of both stores, as numbers that the UI plots over time.",
        group_name=MONITOR,
        owners=OWNERS,
        tags=EVERY_DAY,
        kinds={"python"},
    )
    @logged_step
    def storage_retention(
        context: dg.AssetExecutionContext, config: RetentionConfig, database: dg.ResourceParam[Database]
    ) -> dg.MaterializeResult[None]:
        check_schema(database)
        location = context.run.tags.get(LOCATION)
        numbers = retain(context.instance, settings, database, location, utc_now(), dry_run=config.dry_run)
        return dg.MaterializeResult(metadata=numbers)

    return storage_retention


def retain(
    instance: dg.DagsterInstance,
    settings: Settings,
    database: Database,
    location: str | None,
    now: datetime,
    *,
    dry_run: bool = False,
) -> Numbers:
    """Delete what is no longer needed at `now` (aware UTC), or with `dry_run` only count it; one process at a time."""
    # They import Dagster's storages, of which a tick needs one at most.
    from market_pipeline.dagster_instance import run_storage
    from market_pipeline.dagster_instance.retention import purge_runs

    with exclusive(database, _LOCK, lambda: logger.info("Another process deletes old runs; this one waits for it")):
        sizes = {DAGSTER_BYTES: run_storage.stored_bytes(instance), PRICES_BYTES: disk.stored_bytes(database)}
        purge = purge_runs(
            instance, location, now, keep=timedelta(days=settings.runs_keep_days), within=_WITHIN, dry_run=dry_run
        )
        numbers: Numbers = {
            "runs_deleted": purge.deleted, "runs_to_delete": purge.found - purge.deleted,
            "runs_kept": purge.kept_here,
            **{f"runs_kept_{reason}": number for reason, number in purge.by_reason.items()},
            "orphaned_files": purge.orphans,
        }
        if settings.raw_prices_keep_days is not None:
            before = start_of_day(now.date()) - settings.raw_prices_keep_days * DAY
            if dry_run:
                numbers["prices_to_thin"] = count_superfluous(database, before)
            else:
                numbers["prices_thinned"] = thin_prices(database, before)
        if not dry_run:
            numbers["alerts_deleted"] = delete_old_messages(database, now - _ALERTS_KEPT)
            numbers["vacuum"] = run_storage.vacuum(instance) if purge.deleted else "not needed"
            numbers["prices_vacuum"] = disk.compact_database(database)
            numbers |= {f"{name}_before": size for name, size in sizes.items()}
            sizes = {DAGSTER_BYTES: run_storage.stored_bytes(instance), PRICES_BYTES: disk.stored_bytes(database)}
        return {"summary": retention_sentence(purge, sizes, dry_run=dry_run), **sizes, **numbers, "dry_run": dry_run}


def retention_sentence(purge: "Purge", sizes: Mapping[str, int], *, dry_run: bool) -> str:
    """Return what was deleted, or would be, and how much disk both stores take now."""
    done = f"{counted(purge.found, 'run')} would be deleted" if dry_run else f"{counted(purge.deleted, 'run')} deleted"
    left = purge.found - purge.deleted
    later = f", {left:,} left for the next time" if left and not dry_run else ""
    dagster, prices = (f"{sizes[name] / 1e6:,.0f} MB" for name in (DAGSTER_BYTES, PRICES_BYTES))
    return f"{done}{later}, {purge.kept_here:,} kept. Dagster's storage takes {dagster}, the prices {prices}."
