"""The run launcher of a deployment with a standing code server: it knows whether a run's process still exists.

The code server starts each run as a process of its own and reports one that dies. Where the server itself is killed,
its container or unit ends with all runs, and no process reports them: Dagster's launcher would leave them in progress
until their time limit, and the schedule skips meanwhile. The next server, under the same address, does not have them:
this launcher queries that, as neither a host name nor a process id identifies a process across containers.

Not for `dagster dev` or `dagster code-server start`: after a reload their answer concerns the new server process only.
"""

import json

import dagster as dg
from dagster._core.errors import DagsterUserCodeUnreachableError
from dagster._core.launcher.base import CheckRunHealthResult, WorkerStatus
from dagster._core.storage.tags import GRPC_INFO_TAG
from dagster._grpc.client import DagsterGrpcClient
from dagster._grpc.types import GetCurrentRunsResult
from dagster._serdes import deserialize_value


class WatchingRunLauncher(dg.DefaultRunLauncher):
    """Dagster's launcher, whose runs the run monitoring can examine."""

    @property
    def supports_check_run_worker_health(self) -> bool:
        """Let the run monitoring examine runs in progress."""
        return True

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Ask the code server that started `run` whether it has it.

        The monitoring fails a run for every answer but RUNNING, so this is also the answer where nothing is known:
        while the server does not answer, and for a run that a command executes in its own process.
        """
        server = run.tags.get(GRPC_INFO_TAG)
        if server is None:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        try:
            answer = DagsterGrpcClient(**json.loads(server)).get_current_runs()
        except DagsterUserCodeUnreachableError:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        found = deserialize_value(answer, GetCurrentRunsResult)
        if found.serializable_error_info is not None or run.run_id in found.current_runs:
            return CheckRunHealthResult(WorkerStatus.RUNNING)
        return CheckRunHealthResult(
            WorkerStatus.NOT_FOUND, "the code server was restarted, and its former runs ended with it"
        )
