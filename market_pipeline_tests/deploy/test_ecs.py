"""deploy/ecs: the CloudFormation template by its linter, and the requests that Dagster's launcher makes with it."""

import json
from pathlib import Path
from typing import Any

import boto3
import dagster as dg
import pytest
from botocore.awsrequest import AWSRequest, AWSResponse
from cfnlint.api import lint_file
from cfnlint.decode.cfn_yaml import load as load_template
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import LaunchRunContext
from dagster_aws.ecs import EcsRunLauncher

from market_pipeline.settings import Settings
from market_pipeline_tests.dagster_records import served_job

FOLDER = Path(__file__).parents[2] / "deploy" / "ecs"
TEMPLATE: dict[str, Any] = load_template(str(FOLDER / "template.yaml"))
TASKS = {
    resource["Properties"]["Family"]: resource["Properties"]
    for resource in TEMPLATE["Resources"].values() if resource["Type"] == "AWS::ECS::TaskDefinition"
}
SECRETS = {"PGPASSWORD", "COINGECKO_API_KEY", "API_TOKEN", "ALERT_URLS", "ALERT_HEARTBEAT_URL"}
# What this deployment decides by itself: lines in JSON, an API with a token, no broker, addresses behind a tunnel.
NOT_OFFERED = {
    "LOG_FORMAT", "API_WITHOUT_TOKEN", "CELERY_BROKER_URL", "COINGECKO_BASE_URL", "DAGSTER_UI_URL", "API_URL",
}
ARN = "arn:aws:ecs:eu-central-1:000000000000"


def container(family: str) -> dict[str, Any]:
    """The one container of a task."""
    (only,) = TASKS[family]["ContainerDefinitions"]
    found: dict[str, Any] = only
    return found


def test_the_template_passes_the_linter() -> None:
    assert lint_file(FOLDER / "template.yaml") == []


def test_every_setting_reaches_the_tasks_that_need_it() -> None:
    given = {family: {one["Name"] for part in ("Environment", "Secrets") for one in container(family)[part]}
             for family in TASKS}
    settings = {name.upper() for name in Settings.model_fields}
    of_the_watcher, of_the_api = {"ALERT_URLS", "ALERT_HEARTBEAT_URL"}, {"API_TOKEN"}
    of_clients = {"COINGECKO_API_KEY"}
    assert settings & (given["market-pipeline-watch"] | of_clients) == settings - NOT_OFFERED - of_the_api
    for family in ("code", "run"):
        assert settings & given[f"market-pipeline-{family}"] == settings - NOT_OFFERED - of_the_api - of_the_watcher
    assert settings & given["market-pipeline-api"] == settings - NOT_OFFERED - of_the_watcher


def test_no_secret_is_written_and_every_task_may_do_little() -> None:
    for family in TASKS:
        task = container(family)
        assert task["ReadonlyRootFilesystem"] is True and task["User"] == "10001:10001"
        assert next(one["Name"] for one in task["Secrets"]) == "PGPASSWORD"
        assert not {one["Name"] for one in task["Environment"]} & SECRETS


def test_the_launcher_starts_a_run_as_a_task_of_the_template(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real launcher and the real client of AWS, whose requests end here."""
    sent: list[tuple[str, dict[str, Any]]] = []
    answers = {
        "DescribeTaskDefinition": {"taskDefinition": {
            "taskDefinitionArn": f"{ARN}:task-definition/market-pipeline-run:1",
            "containerDefinitions": [{"name": container("market-pipeline-run")["Name"], "image": "image:1"}],
        }},
        "DescribeTasks": {"tasks": [{"taskDefinitionArn": f"{ARN}:task-definition/market-pipeline-daemon:1",
                                     "attachments": []}]},
        "RunTask": {"tasks": [{"taskArn": f"{ARN}:task/market-pipeline/1", "clusterArn": f"{ARN}:cluster/x"}]},
    }

    def answer(request: AWSRequest, **_: Any) -> AWSResponse:
        operation = request.headers["X-Amz-Target"].decode().rpartition(".")[2]
        sent.append((operation, json.loads(request.body)))
        raw = type("Raw", (), {"stream": lambda self, **_: iter([json.dumps(answers[operation]).encode()])})()
        return AWSResponse(request.url, 200, {}, raw)

    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DAGSTER_DATABASE_URL"):
        monkeypatch.setenv(name, "unused")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    environment = {one["Name"]: one["Value"] for one in container("market-pipeline-daemon")["Environment"]}
    monkeypatch.setenv("RUN_TASK_DEFINITION", environment["RUN_TASK_DEFINITION"])
    session = boto3.Session()
    session.events.register("before-send", answer)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", session)
    launcher = InstanceRef.from_dir(str(FOLDER)).run_launcher
    assert isinstance(launcher, EcsRunLauncher)
    # What it would copy from the task in which it runs.
    launcher.use_current_ecs_task_config = False
    launcher.run_task_kwargs = {"cluster": "market-pipeline", "launchType": "FARGATE"}
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.add_run(dg.DagsterRun("job", **served_job("job")))
        launcher.register_instance(instance)
        launcher.launch_run(LaunchRunContext(run, None))
    request = dict(sent)["RunTask"]
    (override,) = request["overrides"]["containerOverrides"]
    assert request["taskDefinition"].endswith("market-pipeline-run:1")
    assert "execute_run" in override["command"] and run.run_id in str(override["command"])
    # Fargate offers this memory with this processor, and the task's own limits are no lower.
    assert (request["overrides"]["cpu"], request["overrides"]["memory"]) == ("512", "2048")
    assert (TASKS["market-pipeline-run"]["Cpu"], TASKS["market-pipeline-run"]["Memory"]) == ("512", "2048")
