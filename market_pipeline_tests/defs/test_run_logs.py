"""What a run writes: every line in one form, each once, with its run; the same lines in the UI's log of the run."""

import json
import subprocess
import sys
import threading
from collections import Counter
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.defs.logging.log_fields import io_fields, logged_evaluation, logged_step, run_fields
from market_pipeline.logs import bound, current_trace_id, get_logger, log_to_stderr
from market_pipeline.logs.context import current_fields
from market_pipeline.simulator.faults import Fault
from market_pipeline.storage.engine import Database
from market_pipeline_tests.canaries import KEY, PASSWORD, heard, heard_in_files
from market_pipeline_tests.logging_state import restored

# As a run worker does: it loads the code location, then executes.
RUN = """
import sys
import dagster as dg
from market_pipeline.definitions import defs
from market_pipeline.defs.partitions import range_tags
from market_pipeline.core.clock import utc_now
from market_pipeline.settings import load_settings

today = utc_now().date()
tags = range_tags(today, today, load_settings(None).catalogue.symbols)
with dg.DagsterInstance.get() as instance:
    result = defs.resolve_job_def("tick").execute_in_process(instance=instance, tags=tags, raise_on_error=False)
print(result.run_id)
"""
FIELDS = {"timestamp", "level", "logger", "message"}


@pytest.fixture
def tick(world_of, instance):
    """`tick(database, fault, **environment)`: the lines of a tick in a process of its own, and the UI's of the run."""

    def run(database, fault=None, **environment):
        start = (utc_now() - timedelta(days=2)).date().isoformat()
        world = world_of(database, HISTORY_START=start, MARKET_SYMBOLS="BTC,ETH", **environment)
        if fault:
            world.simulator.add_fault(fault)
        done = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
        run_id = done.stdout.strip()
        told = [event for event in instance.all_logs(run_id) if not event.is_dagster_event]
        return run_id, done.stderr.splitlines(), told

    return run


@pytest.mark.slow
def test_every_line_of_a_run_is_json_once_with_its_run_and_partition(tick, sqlite_database):
    run_id, rows, told = tick(sqlite_database)
    lines = [json.loads(row) for row in rows]
    assert all(FIELDS <= line.keys() for line in lines)
    today = utc_now().date()
    for line in lines:
        assert line["trace_id"] == line["run_id"] == run_id, line
        assert line["partition"] == f"{today}|BTC...{today}|ETH"
    assert max(Counter(line["message"] for line in lines).values()) == 1
    events = [(line["event"], line["level"], line["job"]) for line in lines if line["logger"] == "dagster"]
    assert events == [("RUN_START", "INFO", "tick"), ("RUN_SUCCESS", "INFO", "tick")]
    (ended,) = [line for line in lines if line.get("event") == "RUN_SUCCESS"]
    assert ended["duration_ms"] > 0
    by_asset = {line["message"].split(":")[0]: line.get("asset") for line in lines}
    assert by_asset["GET /simple/price"] == "raw_prices,rejected_prices"
    assert by_asset["Wrote 2 rows to raw_prices"] == "raw_prices"
    assert by_asset["Wrote 0 rows to price_anomalies"] == "price_anomalies"
    wrote = next(line for line in lines if line["message"] == "Wrote 2 rows to raw_prices")
    assert wrote["rows_affected"] == 2 and wrote["duration_ms"] > 0
    asked = next(line for line in lines if line["message"].startswith("GET /simple/price"))
    assert asked["status_code"] == 200 and asked["duration_ms"] >= 0
    assert [line["message"] for line in lines if line["logger"] != "dagster"] == [event.message for event in told]


@pytest.mark.slow
def test_at_debug_the_lines_and_the_events_of_dagster_are_all_there(tick, sqlite_database):
    """Dagster's own setting of a level would overrule LOG_LEVEL, so dagster.yaml has none."""
    _, rows, told = tick(sqlite_database, LOG_LEVEL="DEBUG")
    lines = [json.loads(row) for row in rows]
    assert {"STEP_START", "STEP_SUCCESS", "ASSET_MATERIALIZATION"} <= {line.get("event") for line in lines}
    assert all(line["step"] for line in lines if line.get("event") == "STEP_START")
    own = [line["message"] for line in lines if line["logger"].startswith("market_pipeline")]
    assert own == [event.message for event in told if event.message in own] and len(own) == len(set(own)) > 3


@pytest.mark.slow
def test_a_run_that_fails_tells_it_once_at_error_for_people(tick, sqlite_database):
    fault = Fault(kind="status", status=401, code=10002, times=None)
    run_id, rows, _ = tick(sqlite_database, fault, LOG_FORMAT="console")
    heads = [row for row in rows if not row.startswith(" ") and row]
    failed = [row for row in heads if 'Execution of step "collect_prices" failed' in row]
    assert len(failed) == 1 and " ERROR   dagster " in failed[0] and f"trace_id={run_id}" in failed[0]
    assert sum("event=RUN_FAILURE" in row and "duration_ms=" in row for row in heads) == 1
    assert sum("Stack Trace:" in row for row in rows) == 1, "the run's own line need not repeat the step's"
    assert any("the API key is missing or unknown" in row for row in rows)
    assert all(row[:2] == "20" and row.split(" ")[0].endswith("Z") for row in heads)


def own_lines(capsys):
    """The lines of this process so far, but for those of Dagster's console logger where nothing replaced it."""
    return [json.loads(row) for row in capsys.readouterr().err.splitlines() if row.startswith("{")]


def test_a_line_of_a_thread_that_knows_nothing_of_the_run_carries_its_id(instance, capsys):
    """Dagster, which keeps the line for its UI, knows it."""
    logger = get_logger("market_pipeline.threads")

    @dg.asset
    def threaded(context: dg.AssetExecutionContext) -> None:
        thread = threading.Thread(target=logger.info, args=("in a thread",), kwargs={"extra": {"symbol": "BTC"}})
        thread.start()
        thread.join()

    with restored():
        log_to_stderr("INFO", "json")
        run_id = dg.materialize([threaded], instance=instance).run_id
    (line,) = [line for line in own_lines(capsys) if line["message"] == "in a thread"]
    assert (line["trace_id"], line["run_id"], line["symbol"]) == (run_id, run_id, "BTC")


def test_a_run_within_a_command_carries_its_own_id(instance, capsys):
    logger = get_logger("market_pipeline.within")

    @dg.asset
    def within() -> None:
        logger.info("within")

    with restored(), bound(trace_id="command"):
        log_to_stderr("INFO", "json")
        logger.info("before")
        run_id = dg.materialize([within], instance=instance).run_id
    ids = {line["message"]: line["trace_id"] for line in own_lines(capsys) if line["logger"] == logger.name}
    assert ids == {"before": "command", "within": run_id}


@pytest.mark.slow
def test_a_check_that_does_not_pass_is_a_line(tick, sqlite_database):
    _, rows, _ = tick(sqlite_database, Fault(kind="negative_price", coin="bitcoin", path="/simple/price"))
    line = next(line for line in map(json.loads, rows) if "check" in line)
    assert (line["level"], line["check"], line["asset"]) == ("WARNING", "no_negative_prices", "raw_prices")
    assert line["message"].startswith("Check no_negative_prices did not pass: ")


@pytest.mark.slow
def test_no_secret_in_what_a_failing_run_writes_at_debug(tick, instance, postgres_database):
    database = Database(postgres_database.url.set(password=PASSWORD))
    fault = Fault(kind="echo", times=None)
    _, rows, told = tick(database, fault, COINGECKO_API_KEY=KEY, LOG_LEVEL="DEBUG")
    assert rows and heard("stderr", "\n".join(rows)) == []
    assert told and heard_in_files(Path(instance.root_directory)) == []


def test_dagster_still_makes_its_console_logger_where_we_replace_it(instance):
    """If this fails, Dagster has changed: see `defs/run_console.py`."""
    from dagster._core.execution.context_creation_job import initialize_console_manager
    from dagster._loggers import default_loggers, default_system_loggers

    import market_pipeline.definitions  # replaces it
    from market_pipeline.defs.logging.run_console import EventHandler, console_logger

    assert market_pipeline.definitions.defs
    assert [definition.logger_fn for definition, _ in default_system_loggers(instance)] == [console_logger]
    assert [definition.logger_fn for definition in default_loggers().values()] == [console_logger]
    manager = initialize_console_manager(None, instance)
    (console,) = manager._dagster_handler._loggers
    assert [type(handler) for handler in console.handlers] == [EventHandler]


@pytest.mark.parametrize(("tags", "partition"), [
    ({"dagster/partition": "2026-11-23|BTC"}, "2026-11-23|BTC"),
    ({"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}, "a...b"),
    ({"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "a"}, "a"),
    ({}, None),
])
def test_the_partition_of_a_run_is_that_of_its_tags(tags, partition):
    fields = run_fields("r", tags, ["b", "a", "a"])
    assert fields.get("partition") == partition
    assert (fields["trace_id"], fields["run_id"], fields["asset"]) == ("r", "r", "a,b")


def test_a_context_built_by_hand_has_no_run():
    for context in (dg.build_output_context(asset_key="raw_prices"), dg.build_input_context(asset_key="raw_prices")):
        assert io_fields(context) == {"trace_id": "none", "asset": "raw_prices"}


def test_a_step_that_yields_binds_nothing_while_dagster_works():
    """Dagster runs other code at each yield: IO managers, hooks, the next step."""
    seen = []

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset="a") for name in ("one", "two")])
    @logged_step
    def check(context: dg.AssetCheckExecutionContext):
        for name in ("one", "two"):
            seen.append(current_fields()["asset"])
            yield dg.AssetCheckResult(passed=True, check_name=name, metadata={"by": current_trace_id()})

    @dg.asset
    @logged_step
    def a(context: dg.AssetExecutionContext) -> None:
        seen.append(current_fields()["asset"])

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize([a, check], instance=instance)
        results = result.get_asset_check_evaluations()
    assert {check.metadata["by"].value for check in results} == {result.run_id}
    assert seen == ["a", "a", "a"] and dict(current_fields()) == {}


def test_each_evaluation_of_a_sensor_has_a_trace_id_of_its_own():
    seen = []

    @dg.sensor(job_name="tick")
    @logged_evaluation
    def sensor(context: dg.SensorEvaluationContext):
        seen.append(current_trace_id())
        return dg.SkipReason("nothing")

    for _ in range(2):
        with dg.build_sensor_context() as context:
            sensor(context)
    assert len(set(seen)) == 2 and all(seen) and current_trace_id() is None
