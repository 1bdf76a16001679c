"""deploy/celery: what differs from deploy/, and that it fits it."""

import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonschema import Draft7Validator

from faults.compose import DEPLOY

FOLDER = DEPLOY / "celery"


def document(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text("utf-8"))
    return found


@pytest.mark.parametrize("engine", ["celery", "ecs"])
def test_an_instance_differs_from_the_others_in_its_launcher_and_monitoring_only(engine: str) -> None:
    ours, base = document(DEPLOY / engine / "dagster.yaml"), document(DEPLOY / "dagster.yaml")
    assert ours.pop("run_launcher") != base.pop("run_launcher")
    changed = {name for name, value in base.pop("run_monitoring").items() if ours["run_monitoring"].get(name) != value}
    assert ours.pop("run_monitoring")["enabled"] and changed <= {"poll_interval_seconds", "start_timeout_seconds"}
    assert ours == base


def test_compose_accepts_the_workers_beside_every_process_that_opens_the_instance() -> None:
    ours, base = document(FOLDER / "compose.yaml"), document(DEPLOY / "compose.yaml")["services"]
    schema = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json")
    errors = Draft7Validator(yaml.safe_load(schema.read_text(encoding="utf-8"))).iter_errors(ours)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []
    services = ours["services"]
    others = {name for name, service in base.items() if service.get("profiles") == ["monitoring"]} | {"postgres"}
    assert services.keys() == base.keys() - others | {"redis", "worker"}
    for name in services.keys() - {"redis"}:
        assert services[name]["environment"]["CELERY_BROKER_URL"].startswith("redis://:${REDIS_PASSWORD:?")
        assert services[name]["configs"] == [{"source": "instance", "target": "/opt/market-pipeline/dagster.yaml"}]
    # The worker is what the code server was: it executes runs. It derives Dagster's variables by itself, and records
    # alerts, which the watcher sends.
    worker, code = services["worker"], base["code"]
    derived = {"DAGSTER_DATABASE_URL", "DAGSTER_EVENT_BATCH_SIZE", "CODE_SERVER_HOST"}
    of_the_watcher = {"ALERT_URLS", "ALERT_QUIET_HOURS", "ALERT_HEARTBEAT_URL"}
    assert worker["environment"].keys() == code["environment"].keys() - derived - of_the_watcher | {"CELERY_BROKER_URL"}
    same = ("image", "init", "read_only", "user", "cap_drop", "security_opt", "tmpfs", "networks", "stop_grace_period")
    assert {name: worker[name] for name in same} == {name: code[name] for name in same}


def test_systemd_accepts_the_unit_of_a_worker(tmp_path: Path) -> None:
    """With the drop-in of all units, which confines it; this environment is in the place of that in /opt."""
    if (analyze := shutil.which("systemd-analyze")) is None:
        pytest.skip("there is no systemd-analyze here")
    shutil.copytree(DEPLOY / "systemd", tmp_path, dirs_exist_ok=True)
    unit = tmp_path / "market-pipeline-worker.service"
    text = (FOLDER / unit.name).read_text("utf-8")
    unit.write_text(text.replace("/opt/market-pipeline/venv", sys.prefix), "utf-8")
    path = f"{tmp_path}:/usr/lib/systemd/system:/lib/systemd/system"
    for check in (["verify", "--man=no"], ["security", "--offline=yes", "--threshold=20", "--no-pager"]):
        done = subprocess.run(
            [analyze, *check, str(unit)], env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": path},
            capture_output=True, text=True, check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
