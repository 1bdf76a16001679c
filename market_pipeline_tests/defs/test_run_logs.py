"""What a run writes: every line in one form, each once, with its run; the same lines in the UI's log of the run."""

import json
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import dagster as dg
import pytest

from market_pipeline.core.clock import utc_now
from market_pipeline.defs.logging.log_fields import io_fields, logged_evaluation, logged_step, run_fields
from market_pipeline.logs import bound, current_trace_id, get_logger, log_to_stderr
from market_pipeline.logs.context import current_fields
from market_pipeline.settings import load_settings
from market_pipeline.simulator.faults import Fault
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline_tests.canaries import KEY, PASSWORD, heard, heard_in_files
from market_pipeline_tests.defs.world import World
from market_pipeline_tests.logging_state import restored

# As a run worker does: it loads the code location, then executes.
RUN = """
import sys
import dagster as dg
from market_pipeline.definitions import defs
from market_pipeline.defs.partitions import range_tags
from market_pipeline.core.clock import utc_now

today = utc_now().date()
tags = range_tags(today, today, ["BTC", "ETH"])
with dg.DagsterInstance.get() as instance:
    result = defs.resolve_job_def("tick").execute_in_process(instance=instance, tags=tags, raise_on_error=False)
HEAVY = ("pandas", "pyarrow", "adbc_driver_manager", "numba", "scipy", "matplotlib", "apprise")
print(result.run_id, *(name for name in HEAVY if name in sys.modules))
"""
FIELDS = {"timestamp", "level", "logger", "message"}


class Ticked(NamedTuple):
    """A tick in a process of its own: its id, its lines on standard error, the UI's, and the heavy imports."""

    run_id: str
    rows: list[str]
    in_ui: list[Any]
    heavy: list[str]

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(row) for row in self.rows]


class Tick(Protocol):
    def __call__(self, database: Database, fault: Fault | None = None, **environment: str) -> Ticked: ...


@pytest.fixture
def tick(home_instance: dg.DagsterInstance, simulator: Simulator) -> Tick:
    """`tick(database, fault, **environment)` after a tick that has drawn the hour's picture."""

    def run(database: Database, fault: Fault | None = None, **environment: str) -> Ticked:
        url = database.url.render_as_string(hide_password=False)
        usual = {
            "coingecko_base_url": simulator.base_url, "coingecko_plan": "pro", "coingecko_api_key": "CG-test",
            "coingecko_requests_per_minute": "10000", "coingecko_monthly_credits": "10000000",
            "history_start": f"{utc_now().date() - timedelta(days=2)}", "market_symbols": "BTC,ETH",
        }
        before = World(load_settings(None, database_url=url, **usual), home_instance, simulator)
        before.tick()
        before.database.dispose()
        if fault:
            simulator.add_fault(fault)
        variables = {name.upper(): value for name, value in usual.items()}
        done = subprocess.run(
            [sys.executable, "-c", RUN], capture_output=True, text=True, check=True,
            env={**os.environ, **variables, "DATABASE_URL": url, **environment},
        )
        run_id, *heavy = done.stdout.split()
        in_ui = [event for event in home_instance.all_logs(run_id) if not event.is_dagster_event]
        return Ticked(run_id, done.stderr.splitlines(), in_ui, heavy)

    return run


@pytest.mark.slow
def test_every_line_of_a_run_is_json_once_with_its_run_and_partition(tick: Tick, sqlite_database: Database) -> None:
    """And nothing heavy is imported for it: a tick is a process of its own every few minutes."""
    ticked = tick(sqlite_database)
    assert ticked.heavy == []
    lines, today = ticked.lines, utc_now().date()
    for line in lines:
        assert line.keys() >= FIELDS
        assert line["trace_id"] == line["run_id"] == ticked.run_id, line
        assert line["partition"] == f"{today}|BTC...{today}|ETH"
    assert max(Counter(line["message"] for line in lines).values()) == 1
    events = [(line["event"], line["level"], line["job"]) for line in lines if line["logger"] == "dagster"]
    assert events == [("RUN_START", "INFO", "tick"), ("RUN_SUCCESS", "INFO", "tick")]
    (ended,) = [line for line in lines if line.get("event") == "RUN_SUCCESS"]
    assert ended["duration_ms"] > 0
    by_start = {line["message"].split(":")[0]: line for line in lines}
    request, anomalies = by_start["GET /simple/price"], by_start["Wrote 0 rows to price_anomalies"]
    assert (request["asset"], request["status_code"]) == ("raw_prices,rejected_prices", 200)
    assert request["duration_ms"] >= 0
    assert (anomalies["asset"], anomalies["rows_affected"]) == ("price_anomalies", 0) and anomalies["duration_ms"] > 0
    own = [line["message"] for line in lines if line["logger"] != "dagster"]
    assert own == [event.message for event in ticked.in_ui]


@pytest.mark.slow
def test_at_debug_the_events_of_dagster_are_all_there_and_a_check_that_does_not_pass_is_a_line(
    tick: Tick, sqlite_database: Database
) -> None:
    """Dagster's own setting of a level would overrule LOG_LEVEL, so dagster.yaml has none."""
    fault = Fault(kind="negative_price", coin="bitcoin", path="/simple/price")
    ticked = tick(sqlite_database, fault, LOG_LEVEL="DEBUG")
    assert {"STEP_START", "STEP_SUCCESS", "ASSET_MATERIALIZATION"} <= {line.get("event") for line in ticked.lines}
    assert all(line["step"] for line in ticked.lines if line.get("event") == "STEP_START")
    own = [line["message"] for line in ticked.lines if line["logger"].startswith("market_pipeline")]
    assert own == [event.message for event in ticked.in_ui if event.message in own] and len(own) == len(set(own)) > 3
    line = next(line for line in ticked.lines if line.get("check") == "no_negative_prices")
    assert (line["level"], line["asset"]) == ("WARNING", "raw_prices")
    assert line["message"].startswith("Check no_negative_prices did not pass: ")


@pytest.mark.slow
def test_a_run_that_fails_is_one_error_for_people(tick: Tick, sqlite_database: Database) -> None:
    fault = Fault(kind="status", status=401, code=10002, times=None)
    run_id, rows, _, _ = tick(sqlite_database, fault, LOG_FORMAT="console")
    heads = [row for row in rows if not row.startswith(" ") and row]
    (failed,) = [row for row in heads if 'Execution of step "collect_prices" failed' in row]
    assert " ERROR   dagster " in failed and f"trace_id={run_id}" in failed
    assert sum("event=RUN_FAILURE" in row and "duration_ms=" in row for row in heads) == 1
    assert sum("Stack Trace:" in row for row in rows) == 1, "the run's own line need not repeat the step's"
    assert all(row[:2] == "20" and row.split(" ")[0].endswith("Z") for row in heads)


@pytest.mark.slow
def test_no_secret_in_what_a_failing_run_writes_at_debug(
    tick: Tick, home_instance: dg.DagsterInstance, postgres_database: Database
) -> None:
    database = Database(postgres_database.url.set(password=PASSWORD))
    fault = Fault(kind="echo", times=None)
    ticked = tick(database, fault, COINGECKO_API_KEY=KEY, LOG_LEVEL="DEBUG")
    assert ticked.rows and heard("stderr", "\n".join(ticked.rows)) == []
    assert ticked.in_ui and heard_in_files(Path(home_instance.root_directory)) == []


Lines = Any


@pytest.fixture
def logged(capsys: pytest.CaptureFixture[str]) -> Iterator[Lines]:
    """`logged()`: the JSON lines of this process, but for those of Dagster's console logger."""
    with restored():
        log_to_stderr("INFO", "json")
        yield lambda: [json.loads(row) for row in capsys.readouterr().err.splitlines() if row.startswith("{")]


def test_a_line_of_a_thread_without_the_context_of_the_run_carries_its_id(
    instance: dg.DagsterInstance, logged: Lines
) -> None:
    """Dagster, which stores the line for its UI, adds it."""
    logger = get_logger("market_pipeline.threads")

    @dg.asset
    def threaded(context: dg.AssetExecutionContext) -> None:
        thread = threading.Thread(target=logger.info, args=("in a thread",), kwargs={"extra": {"symbol": "BTC"}})
        thread.start()
        thread.join()

    run_id = dg.materialize([threaded], instance=instance).run_id
    (line,) = [line for line in logged() if line["message"] == "in a thread"]
    assert (line["trace_id"], line["run_id"], line["symbol"]) == (run_id, run_id, "BTC")


def test_a_run_within_a_command_carries_its_own_id(instance: dg.DagsterInstance, logged: Lines) -> None:
    logger = get_logger("market_pipeline.within")

    @dg.asset
    def within() -> None:
        logger.info("within")

    with bound(trace_id="command"):
        logger.info("before")
        run_id = dg.materialize([within], instance=instance).run_id
    ids = {line["message"]: line["trace_id"] for line in logged() if line["logger"] == logger.name}
    assert ids == {"before": "command", "within": run_id}


@pytest.mark.parametrize(("tags", "partition"), [
    ({"dagster/partition": "2026-11-23|BTC"}, "2026-11-23|BTC"),
    ({"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "b"}, "a...b"),
    ({"dagster/asset_partition_range_start": "a", "dagster/asset_partition_range_end": "a"}, "a"),
    ({}, None),
])
def test_the_partition_of_a_run_is_that_of_its_tags(tags: dict[str, str], partition: str | None) -> None:
    fields = run_fields("r", tags, ["b", "a", "a"])
    assert fields.get("partition") == partition
    assert (fields["trace_id"], fields["run_id"], fields["asset"]) == ("r", "r", "a,b")


def test_a_context_built_by_hand_has_no_run() -> None:
    for context in (dg.build_output_context(asset_key="raw_prices"), dg.build_input_context(asset_key="raw_prices")):
        assert io_fields(context) == {"trace_id": "none", "asset": "raw_prices"}


def test_a_step_that_yields_binds_nothing_while_dagster_works() -> None:
    """Dagster runs other code at each yield: IO managers, hooks, the next step."""
    seen = []

    @dg.multi_asset_check(specs=[dg.AssetCheckSpec(name, asset="a") for name in ("one", "two")])
    @logged_step
    def check(context: dg.AssetCheckExecutionContext) -> Iterator[dg.AssetCheckResult]:
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


def test_each_evaluation_of_a_sensor_has_a_trace_id_of_its_own() -> None:
    seen = []

    @dg.sensor(job_name="tick")
    @logged_evaluation
    def sensor(context: dg.SensorEvaluationContext) -> dg.SkipReason:
        seen.append(current_trace_id())
        return dg.SkipReason("nothing")

    for _ in range(2):
        with dg.build_sensor_context() as context:
            sensor(context)
    assert len(set(seen)) == 2 and all(seen) and current_trace_id() is None
