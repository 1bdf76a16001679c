"""The command as a process, and the API behind the Dagster UI that it serves."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import requests

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
RUNS = "{ runsOrError { ... on Runs { results { jobName status } } } }"
SCHEDULES = """
{ schedulesOrError(repositorySelector: {repositoryLocationName: "market_pipeline", repositoryName: "__repository__"})
  { ... on Schedules { results { name scheduleState { status } } } } }
"""


def start(project: Path, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """Start the command in `project`, its output in one pipe."""
    command = [sys.executable, "-m", "market_pipeline.commands.main", *arguments]
    return subprocess.Popen(
        command, cwd=project, env={**os.environ, **environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )


class Ui:
    """The GraphQL API behind the UI."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(f"{self.url}/graphql", json={"query": query, "variables": variables}, timeout=60)
        answer.raise_for_status()
        return answer.json()["data"]

    def is_up(self) -> bool:
        try:
            return requests.get(f"{self.url}/server_info", timeout=5).ok
        except requests.RequestException:
            return False

    def schedules(self) -> dict[str, str] | None:
        """The status of each schedule; None until the code location is loaded."""
        found = self.ask(SCHEDULES)["schedulesOrError"].get("results")
        return found and {one["name"]: one["scheduleState"]["status"] for one in found}

    def materialize(self, partition: str) -> str:
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
        return str(result["run"]["runId"])

    def runs(self) -> list[tuple[str, str]]:
        """(job, status) of every run."""
        return [(run["jobName"], run["status"]) for run in self.ask(RUNS)["runsOrError"]["results"]]

    def end_of(self, run_id: str) -> str | None:
        """The final status of a run; None before its end."""
        status = self.ask(STATUS, id=run_id)["runOrError"]["status"]
        return status if status in ("SUCCESS", "FAILURE", "CANCELED") else None


def leftovers(project: Path) -> list[bytes]:
    """The command lines of processes that still work in the project's folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            environment = (entry / "environ").read_bytes()
        except OSError:
            continue
        if f"DAGSTER_HOME={project}".encode() in environment:
            found.append((entry / "cmdline").read_bytes())
    return found
