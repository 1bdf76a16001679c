"""`market-pipeline run` as a person starts it: a process, its UI, a materialization, its end."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import pytest
import requests
from sqlalchemy import select
from sqlalchemy.engine import make_url

from market_pipeline.clock import utc_now
from market_pipeline.commands.home import free_port
from market_pipeline.simulator.market import MarketModel
from market_pipeline.simulator.server import Simulator
from market_pipeline.storage.engine import Database
from market_pipeline.storage.tables import price_anomalies, raw_prices
from market_pipeline.symbols import KNOWN_COINS

PROJECT = Path(__file__).parents[2]

LAUNCH = """
mutation Launch($params: ExecutionParams!) {
  launchPipelineExecution(executionParams: $params) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
  }
}
"""
STATUS = "query Status($id: ID!) { runOrError(runId: $id) { ... on Run { status } } }"
SCHEDULES = """
{ schedulesOrError(repositorySelector: {repositoryLocationName: "market_pipeline", repositoryName: "__repository__"})
  { ... on Schedules { results { name scheduleState { status } } } } }
"""


@pytest.fixture
def project(tmp_path):
    """A folder with what the command needs of the project, and a `.env` that must not win."""
    for name in ("workspace.yaml", "dagster.yaml"):
        shutil.copy(PROJECT / name, tmp_path)
    (tmp_path / ".env").write_text("LOG_LEVEL=ERROR\nDATABASE_URL=sqlite:///of_the_env_file.db\n")
    return tmp_path


def start(project, *arguments, **environment):
    """The command as `make run` starts it."""
    command = [sys.executable, "-m", "market_pipeline.commands.main", *arguments]
    return subprocess.Popen(
        command, cwd=project, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.5)
    raise AssertionError(f"{what} did not happen within {seconds} s")


class Ui:
    """The GraphQL API behind the UI."""

    def __init__(self, port):
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, query, **variables):
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        answer.raise_for_status()
        return answer.json()["data"]

    def is_up(self):
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.RequestException:
            return False

    def materialize(self, partition):
        selector = {
            "repositoryLocationName": "market_pipeline",
            "repositoryName": "__repository__",
            "pipelineName": "__ASSET_JOB",
            "assetSelection": [{"path": [name]} for name in ("raw_prices", "rejected_prices", "price_anomalies")],
            "assetCheckSelection": [],
        }
        tags = [{"key": "dagster/partition", "value": partition}]
        params = {"selector": selector, "mode": "default", "executionMetadata": {"tags": tags}}
        result = self.ask(LAUNCH, params=params)["launchPipelineExecution"]
        assert result["__typename"] == "LaunchRunSuccess", result
        return result["run"]["runId"]

    def finished(self, run_id):
        status = self.ask(STATUS, id=run_id)["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None


@pytest.mark.slow
def test_the_command_serves_collects_and_leaves_nothing_behind(project):
    port = free_port()
    ui = Ui(port)
    yesterday = (utc_now() - timedelta(days=1)).date()
    database = Database(make_url(f"sqlite:///{project / 'mine.db'}"))
    with Simulator(MarketModel(tuple(KNOWN_COINS.values()), seed=7)) as simulator:
        process = start(
            project, "run", "--port", str(port),
            DATABASE_URL="sqlite:///mine.db", COINGECKO_BASE_URL=simulator.base_url, COLLECT_CRON="0 0 1 1 *",
        )
        try:
            wait_for(ui.is_up, 120, "the UI")
            wait_for(lambda: "results" in ui.ask(SCHEDULES)["schedulesOrError"], 60, "loading the code location")
            schedules = ui.ask(SCHEDULES)["schedulesOrError"]["results"]
            assert {s["name"]: s["scheduleState"]["status"] for s in schedules} == {
                "tick_schedule": "RUNNING", "completion_schedule": "RUNNING",
            }
            run_id = ui.materialize(f"{yesterday}|BTC")
            assert wait_for(lambda: ui.finished(run_id), 120, "the run's end") == "SUCCESS"
        finally:
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
    with database.reading() as connection:
        stored = connection.execute(select(raw_prices)).all()
        connection.execute(select(price_anomalies)).all()
    database.dispose()
    assert {row.symbol for row in stored} == {"BTC"}
    assert {row.timestamp.date() for row in stored} <= {yesterday, yesterday + timedelta(days=1)}
    assert len(stored) >= 20
    assert not (project / "of_the_env_file.db").exists(), "the environment wins over .env"
    assert process.returncode == 0
    assert "Warning" not in output and "Traceback" not in output, output
    with pytest.raises(OSError), socket.create_connection(("127.0.0.1", port), timeout=2):
        pass
    assert leftovers(project) == []


def leftovers(project):
    """Processes that still work in the project's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"DAGSTER_HOME={project}".encode() in environment:
            found.append((entry / "cmdline").read_bytes())
    return found


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"COINGECKO_PLAN": "free"}, "COINGECKO_PLAN='free': allowed are keyless, demo, pro"),
        ({"DATABASE_URL": "sqlite:////nowhere/at/all.db"}, "the folder /nowhere/at does not exist"),
    ],
)
def test_what_keeps_it_from_starting_is_said_in_a_sentence(project, environment, complaint):
    process = start(project, "run", "--port", str(free_port()), **environment)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert complaint in output
    assert "Traceback" not in output


def test_a_port_in_use_is_named(project):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        process = start(project, "run", "--port", str(port))
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert f"port {port} for the Dagster UI is in use" in output


def test_outside_the_project_it_says_where_to_start(tmp_path):
    process = start(tmp_path, "run")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 2
    assert "start from the project's folder" in output
