"""A small world for the Dagster side: a code location, an instance, a database and a simulated CoinGecko."""

from collections.abc import Sequence
from datetime import date, timedelta
from typing import Any, Protocol

import dagster as dg
from sqlalchemy import Table, text

from market_pipeline.build import build_defs
from market_pipeline.core.clock import utc_now
from market_pipeline.defs.partitions import partition_key, range_tags
from market_pipeline.settings import Settings
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.schema import tables
from market_pipeline_tests.builders import stored_rows

ERROR, WARN = dg.AssetCheckSeverity.ERROR, dg.AssetCheckSeverity.WARN


class _ScheduleContext(dg.ScheduleEvaluationContext):
    """The context of an evaluation on an instance in memory, which Dagster's own context cannot open."""

    opened: dg.DagsterInstance

    @property
    def instance(self) -> dg.DagsterInstance:
        return self.opened


class World:
    """The code location of `settings` on `instance`, with helpers that express what a test means."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance, simulator: Simulator) -> None:
        self.settings = settings
        self.instance = instance
        self.simulator = simulator
        self.database = Database(settings.database, settings.catalogue.ids)
        self.defs = build_defs(settings, resources={"database": self.database})
        self.symbols = settings.catalogue.symbols
        self.today = utc_now().date()

    def run(self, job: str, first: date, last: date, symbols: Sequence[str] = ()) -> dg.ExecuteInProcessResult:
        """One run of `job` over a range of days and symbols, as the schedules request it."""
        return self.execute(job, range_tags(first, last, symbols or self.symbols))

    def execute(
        self, job: str, tags: dict[str, str] | None = None, assets: Sequence[dg.AssetKey] | None = None
    ) -> dg.ExecuteInProcessResult:
        """One run of `job`, of all its assets or of these."""
        return self.defs.resolve_job_def(job).execute_in_process(
            instance=self.instance, tags=tags, asset_selection=assets, raise_on_error=False
        )

    def tick(self) -> dg.ExecuteInProcessResult:
        return self.run("tick", self.today, self.today)

    def complete(self, first: date, last: date, symbols: Sequence[str] = ()) -> dg.ExecuteInProcessResult:
        return self.run("complete_days", first, last, symbols)

    def execute_check(self, asset: str, name: str) -> dg.AssetCheckEvaluation:
        """One check executed alone, as a person does from the UI."""
        key = dg.AssetCheckKey(dg.AssetKey(asset), name)
        every_asset = self.defs.get_repository_def().get_implicit_global_asset_job_def()
        job = every_asset.get_subset(asset_check_selection={key}, asset_selection=set())
        (evaluation,) = job.execute_in_process(instance=self.instance).get_asset_check_evaluations()
        assert evaluation.check_name == name
        return evaluation

    def materialize(self, asset: str) -> dict[str, Any]:
        """The metadata after the asset alone was materialized, as a person does from the UI."""
        every_asset = self.defs.resolve_implicit_global_asset_job_def()
        only = every_asset.get_subset(asset_selection={dg.AssetKey(asset)}, asset_check_selection=set())
        assert only.execute_in_process(instance=self.instance).success
        return self.latest_metadata(asset)

    def evaluate_sensor(self, cursor: str | None = None, *, is_new: bool = False) -> Any:
        """One evaluation of the repair sensor by the daemon; unless it `is_new`, ledger and retention have run."""
        for asset in () if is_new else ("request_ledger", "storage_retention"):
            if self.instance.get_latest_materialization_event(dg.AssetKey(asset)) is None:
                self.instance.report_runless_asset_event(dg.AssetMaterialization(asset))
        with dg.build_sensor_context(instance=self.instance, cursor=cursor) as context:
            return self.defs.resolve_sensor_def("repair_sensor").evaluate_tick(context)

    def evaluate_schedule(self, name: str, scheduled: Any = None) -> Any:
        """One evaluation of a schedule by the daemon."""
        context = _ScheduleContext(None, scheduled or utc_now(), None, name)
        context.opened = self.instance
        with context:
            return self.defs.resolve_schedule_def(name).evaluate_tick(context)

    def begin(self, job: str, tags: dict[str, str] | None = None) -> dg.DagsterRun:
        """A run of `job` that has started and not ended."""
        started = dg.DagsterRunStatus.STARTED
        return self.instance.create_run_for_job(self.defs.resolve_job_def(job), status=started, tags=tags)

    def days_ago(self, days: int) -> date:
        return self.today - timedelta(days=days)

    def prices(self) -> list[dict[str, Any]]:
        return self.rows(tables.raw_prices)

    def rows(self, table: Table) -> list[dict[str, Any]]:
        return stored_rows(self.database, table)

    def checks(self, result: dg.ExecuteInProcessResult) -> dict[str, dg.AssetCheckEvaluation]:
        return {check.check_name: check for check in result.get_asset_check_evaluations()}

    def materialized(self, asset: str) -> set[str]:
        return set(self.instance.get_materialized_partitions(dg.AssetKey(asset)))

    def latest_metadata(self, asset: str, day: date | None = None, symbol: str | None = None) -> dict[str, Any]:
        """Metadata values of the newest materialization, of one partition if one is named."""
        keys = [str(partition_key(day, symbol))] if day and symbol else None
        wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey.from_user_string(asset), asset_partitions=keys)
        materialization = self.instance.fetch_materializations(wanted, limit=1).records[0].asset_materialization
        assert materialization is not None
        return {name: value.value for name, value in materialization.metadata.items()}

    def insert(self, **row: Any) -> None:
        """Store what another writer would: a row that no rule of this project has seen."""
        coin_id = self.settings.catalogue.coin(row["symbol"]).coin_id
        values = {"coin_id": coin_id, "source": "simple_price", "ingested_at": utc_now(), **row}
        with self.database.writing() as connection:
            connection.execute(tables.raw_prices.insert().values(**values))


class WorldOf(Protocol):
    """Builds a World on a migrated database, with these settings in place of the usual ones."""

    def __call__(self, database: Database, **settings: Any) -> World: ...


def failure_of(result: dg.ExecuteInProcessResult) -> Any:
    """What the first failed step reported."""
    return next(event for event in result.all_events if event.is_step_failure).step_failure_data


def failure_text(result: dg.ExecuteInProcessResult) -> str:
    """The sentence of the Failure that ended a run."""
    return str(failure_of(result).user_failure_data.description)


def without_constraints(database: Database) -> None:
    """Replace the table as someone would who dropped its constraints to load a file."""
    with database.writing() as connection:
        connection.execute(text("DROP TABLE raw_prices"))
        connection.execute(
            text(
                "CREATE TABLE raw_prices (symbol TEXT, coin_id TEXT, timestamp INTEGER, price REAL, "
                "source TEXT, ingested_at INTEGER, PRIMARY KEY (symbol, coin_id, timestamp))"
            )
        )
