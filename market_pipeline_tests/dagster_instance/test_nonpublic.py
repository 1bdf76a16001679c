"""Each part of Dagster that is used although it is not public: these tests fail when Dagster changes it."""

import logging
import sys
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.definitions_load_context import DefinitionsLoadContext
from dagster._core.instance.ref import InstanceRef
from dagster._core.remote_origin import InProcessCodeLocationOrigin
from dagster._core.types.loadable_target_origin import LoadableTargetOrigin
from dagster._grpc.server import DagsterApiServer

from market_pipeline.dagster_instance import nonpublic
from market_pipeline.dagster_instance.home import configures_storage, open_instance, own_home
from market_pipeline.dagster_instance.lanes import has_lanes
from market_pipeline.defs.partitions import RANGE_END, RANGE_START, SINGLE_RUN
from market_pipeline_tests.dagster_records import executed

CODE = """
import dagster as dg
from market_pipeline.dagster_instance.nonpublic import code_location_name

defs = dg.Definitions(jobs=[dg.GraphDefinition(name=f"loaded_in_{code_location_name()}").to_job()])
"""
PARTS = dg.StaticPartitionsDefinition(["a", "b", "c"])


def test_a_code_location_is_loaded_under_its_name(instance: dg.DagsterInstance, tmp_path: Path) -> None:
    file = tmp_path / "code.py"
    file.write_text(CODE)
    target = LoadableTargetOrigin(executable_path=sys.executable, python_file=str(file))
    with DefinitionsLoadContext.scoped(DefinitionsLoadContext.get()):
        assert nonpublic.code_location_name() is None
        with InProcessCodeLocationOrigin(target, location_name="there").create_location(instance) as location:
            (repository,) = location.get_repositories().values()
            assert repository.has_job("loaded_in_there")


def test_runs_log_to_the_console_that_is_given(instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    contexts: list[dg.InitLoggerContext] = []

    def create(context: dg.InitLoggerContext) -> logging.Logger:
        contexts.append(context)
        return logging.Logger("ours")

    monkeypatch.setattr(dg.colored_console_logger, "_logger_fn", dg.colored_console_logger._logger_fn)
    nonpublic.replace_console_logger(create)
    executed(instance, "job")
    assert contexts and isinstance(contexts[0].logger_config["log_level"], str)


def test_an_io_manager_knows_its_run_if_there_is_one(instance: dg.DagsterInstance) -> None:
    runs = []

    class Remembering(dg.IOManager):
        def handle_output(self, context: dg.OutputContext, obj: object) -> None:
            runs.append(nonpublic.run_of(context))

        def load_input(self, context: dg.InputContext) -> None:
            raise NotImplementedError

    @dg.asset
    def numbers() -> int:
        return 1

    result = dg.materialize([numbers], instance=instance, resources={"io_manager": Remembering()})
    assert [run.run_id if run else None for run in runs] == [result.run_id]
    assert nonpublic.run_of(dg.build_output_context()) is None


def test_partitions_tell_their_newest_event_and_version(
    instance: dg.DagsterInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many they are: a statement has a limited number of parameters."""
    monkeypatch.setattr(nonpublic, "_KEYS_AT_ONCE", 2)

    @dg.asset(partitions_def=PARTS)
    def numbers(context: dg.AssetExecutionContext) -> dg.Output[int]:
        return dg.Output(1, data_version=dg.DataVersion(f"of {context.partition_key}"))

    ids = []
    for key in ("a", "b", "a"):
        assert dg.materialize([numbers], instance=instance, partition_key=key).success
        found = nonpublic.latest_storage_ids(instance, "numbers", ["a", "b", "c"])
        ids.append(found[key])
    assert found == {"a": ids[2], "b": ids[1]} and ids == sorted(set(ids))
    assert nonpublic.data_versions(instance, "numbers", ["a", "c"]) == {"a": "of a"}
    (again,) = instance.fetch_materializations(
        dg.AssetRecordsFilter(dg.AssetKey("numbers"), storage_ids=[ids[2]]), limit=1
    ).records
    assert again.asset_materialization is not None
    instance.report_runless_asset_event(again.asset_materialization)
    instance.report_runless_asset_event(dg.AssetMaterialization("numbers", partition="b"))
    newest = nonpublic.latest_storage_ids(instance, "numbers")
    assert newest["a"] > ids[2] and newest["b"] > newest["a"]
    assert nonpublic.version_storage_ids(instance, "numbers", ["a", "b", "c"]) == {"a": ids[0]}
    assert nonpublic.data_versions(instance, "numbers") == {"a": "of a"}
    assert nonpublic.planned_storage_ids(instance, "numbers").keys() == {"a", "b"}
    assert nonpublic.materialized_partitions(instance, "numbers") == {"a", "b"}
    assert nonpublic.materialized_partitions(instance, "unknown") == set()
    assert nonpublic.count_runs(instance) == 3


def test_partitions_of_a_run_are_described_all_at_once_and_one_by_one(instance: dg.DagsterInstance) -> None:
    @dg.asset(partitions_def=PARTS, backfill_policy=SINGLE_RUN)
    def numbers(context: dg.AssetExecutionContext) -> None:
        context.add_asset_metadata({"run": 1, "rows": 0})
        nonpublic.describe_partitions(context, "numbers", {"a": {"rows": 1}, "b": {"rows": 2}})
        context.add_asset_metadata({"more": 5}, partition_key="b")

    tags = {RANGE_START: "a", RANGE_END: "c"}
    result = dg.materialize([numbers], instance=instance, tags=tags)
    made = result.asset_materializations_for_node("numbers")
    assert {one.partition: {name: value.value for name, value in one.metadata.items()} for one in made} == {
        "a": {"run": 1, "rows": 1}, "b": {"run": 1, "rows": 2, "more": 5}, "c": {"run": 1, "rows": 0},
    }


def test_only_a_run_that_has_not_succeeded_is_canceled(instance: dg.DagsterInstance) -> None:
    started = instance.add_run(dg.DagsterRun("job", status=dg.DagsterRunStatus.STARTED)).run_id
    good = executed(instance, "job").run_id
    for run_id in (started, good, "00000000-0000-0000-0000-000000000000"):
        nonpublic.cancel_run(instance, run_id, "Interrupted.")
    statuses = {record.dagster_run.run_id: record.dagster_run.status for record in instance.get_run_records()}
    assert statuses == {started: dg.DagsterRunStatus.CANCELED, good: dg.DagsterRunStatus.SUCCESS}


def test_output_is_captured_unless_a_command_prints_it(home: Path) -> None:
    with open_instance(home) as instance, open_instance(home, capture=False) as printing:
        assert type(instance.compute_log_manager).__name__ == "LocalComputeLogManager"
        assert type(printing.compute_log_manager).__name__ == "NoOpComputeLogManager"
        assert instance.root_directory == printing.root_directory == str(home), "where the locks of processes are"


@pytest.mark.parametrize(("module", "name", "lanes"), [
    ("market_pipeline.dagster_instance.lanes", "LanedRunCoordinator", True),
    ("market_pipeline.defs.lanes", "LanedRunCoordinator", True),
    ("dagster.core.run_coordinator", "QueuedRunCoordinator", False),
])
def test_a_home_of_an_earlier_version_opens_as_it_is(home: Path, module: str, name: str, lanes: bool) -> None:
    """Its dagster.yaml may have been changed by hand, so it is never rewritten."""
    config = home / "dagster.yaml"
    config.write_text(f"run_coordinator:\n  module: {module}\n  class: {name}\ntelemetry: {{enabled: false}}\n")
    before = config.read_text()
    with own_home(home, ours=False), open_instance(home) as instance:
        assert has_lanes(instance) is lanes
        assert executed(instance, "job").success
    assert config.read_text() == before
    assert not configures_storage(home)


def test_a_run_that_died_during_an_outage_is_reported_after_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the loop of the code server's own thread, which ends once no run is left."""
    monkeypatch.setattr(nonpublic, "_AGAIN_SECONDS", 0.0)
    monkeypatch.setattr(DagsterApiServer, "_check_for_orphaned_runs", DagsterApiServer._check_for_orphaned_runs)
    nonpublic.keep_reporting_dead_runs()
    with open_instance(home) as instance:
        run = instance.add_run(dg.DagsterRun("tick", status=dg.DagsterRunStatus.STARTED))
        ref = instance.get_ref()
    answers, read = iter([OSError("the storage is down")]), dg.DagsterInstance.from_ref

    def from_ref(given: InstanceRef) -> dg.DagsterInstance:
        if error := next(answers, None):
            raise error
        return read(given)

    monkeypatch.setattr(dg.DagsterInstance, "from_ref", from_ref)
    server: Any = object.__new__(DagsterApiServer)
    dead = SimpleNamespace(is_alive=lambda: False, exitcode=-9)
    server._executions = {run.run_id: (dead, ref)}
    server._termination_events, server._termination_times = {run.run_id: None}, {}
    server._execution_lock, server._server_termination_event = threading.Lock(), threading.Event()
    server._shutdown_once_executions_finish_event = threading.Event()
    server._shutdown_once_executions_finish_event.set()
    server._cleanup_thread()
    with read(ref) as instance:
        ended = instance.get_run_by_id(run.run_id)
    assert ended and ended.status is dg.DagsterRunStatus.FAILURE
