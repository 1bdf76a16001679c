"""Whether the process of a run still exists, according to the code server that started it."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.launcher.base import WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient

from market_pipeline.commands.ports import HOST, free_port
from market_pipeline.dagster_instance.run_launcher import WatchingRunLauncher
from market_pipeline_tests.builders import wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def server(tmp_path: Path) -> Iterator[DagsterGrpcClient]:
    """A code server without a run."""
    (tmp_path / "served.py").write_text("import dagster as dg\n\ndefs = dg.Definitions()\n")
    port = free_port()
    command = [sys.executable, "-m", "dagster", "api", "grpc", "-f", "served.py", "-h", HOST, "-p", str(port)]
    client = DagsterGrpcClient(host=HOST, port=port)
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: answers(port), 60, "the code server")
            yield client
        finally:
            process.terminate()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


def verdict(**server: object) -> WorkerStatus:
    tags = {GRPC_INFO_TAG: json.dumps(server)} if server else {}
    return WatchingRunLauncher().check_run_worker_health(dg.DagsterRun("job", tags=tags)).status


def test_a_run_is_dead_only_if_its_code_server_answers_that_it_does_not_have_it(server: DagsterGrpcClient) -> None:
    """The monitoring fails a run for any other answer than RUNNING."""
    assert verdict(host=HOST, port=server.port) is WorkerStatus.NOT_FOUND
    assert verdict(host=HOST, port=free_port()) is WorkerStatus.RUNNING
    assert verdict() is WorkerStatus.RUNNING, "a command executes it"
