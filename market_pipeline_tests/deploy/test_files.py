"""The files in deploy/, as far as a machine without Docker can judge them: by their tools, and as a whole."""

import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import dagster as dg
import pytest
import yaml
from docker.utils.build import exclude_paths
from jsonschema import Draft7Validator

from faults.compose import DEPLOY, PROJECT, Missing, services
from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.lanes import has_lanes
from market_pipeline.logs.redaction import SECRET_NAME
from market_pipeline.settings import Settings, load_settings
from market_pipeline_tests.canaries import WORD

SYSTEMD = DEPLOY / "systemd"
SECRETS = {"POSTGRES_PASSWORD": "Kanarienvogel@9/Pw", "API_TOKEN": "Kanarienvogel-token-1"}
# What a deployment decides by itself: the API always has a token there.
# Workers are in deploy/celery.
NOT_OFFERED = {"API_WITHOUT_TOKEN", "CELERY_BROKER_URL"}


def run(*command: str | Path, **environment: str) -> str:
    done = subprocess.run(
        list(map(str, command)), env={"PATH": "/usr/bin:/bin", **environment}, capture_output=True, text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def tool(name: str) -> str:
    found = shutil.which(name) or shutil.which(name, path=str(Path(sys.executable).parent))
    return found or pytest.skip(f"there is no {name} here")


def test_compose_follows_its_specification() -> None:
    schema = resources.files("check_jsonschema.builtin_schemas.vendor").joinpath("compose-spec.json")
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    errors = Draft7Validator(yaml.safe_load(schema.read_text(encoding="utf-8"))).iter_errors(document)
    assert [f"{error.json_path}: {error.message}" for error in errors] == []


def test_the_dockerfile_passes_its_linter() -> None:
    run(tool("hadolint"), "--failure-threshold", "style", DEPLOY / "docker" / "Dockerfile")


def test_systemd_accepts_the_units_and_finds_them_confined(tmp_path: Path) -> None:
    """The units name /opt/market-pipeline/venv; here this environment is in its place."""
    analyze = tool("systemd-analyze")
    shutil.copytree(SYSTEMD, tmp_path, dirs_exist_ok=True)
    units = sorted(tmp_path.glob("market-pipeline*.*e*"))
    units = [unit for unit in units if unit.is_file()]
    for unit in units:
        unit.write_text(unit.read_text().replace("/opt/market-pipeline/venv", sys.prefix))
    path = f"{tmp_path}:/usr/lib/systemd/system:/lib/systemd/system"
    assert run(analyze, "verify", "--man=no", *units, SYSTEMD_UNIT_PATH=path) == ""
    services = [unit for unit in units if unit.suffix == ".service"]
    run(analyze, "security", "--offline=yes", "--threshold=20", "--no-pager", *services, SYSTEMD_UNIT_PATH=path)
    assert len(services) == 6


@pytest.mark.parametrize("secret", SECRETS)
@pytest.mark.parametrize("given", [{}, {"POSTGRES_PASSWORD": "", "API_TOKEN": ""}])
def test_compose_refuses_to_start_without_a_secret(secret: str, given: dict[str, str]) -> None:
    others = {name: value for name, value in SECRETS.items() if name != secret}
    with pytest.raises(Missing, match=f"{secret} is missing a value: set {secret}"):
        services({**given, **others})


def test_no_file_holds_a_secret() -> None:
    """Compose takes them from the environment, the units from a file that the operator writes."""
    example = (SYSTEMD / "environment.example").read_text()
    pairs = re.findall(r"^(?:# )?(\w+)=(.*)$", example, re.MULTILINE)
    document = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    for service in document["services"].values():
        pairs += [(name, value or "") for name, value in service["environment"].items()]
    secret = [(name, value) for name, value in pairs if SECRET_NAME.search(name) or name == "PGPASSWORD"]
    assert {name for name, _ in secret} == {"POSTGRES_PASSWORD", "PGPASSWORD", "API_TOKEN", "COINGECKO_API_KEY"}
    assert [name for name, value in secret if value and not value.startswith("${")] == []
    assert not any(re.search(r"://[^/@]*:[^/@]*@", str(value)) for _, value in pairs)


def test_every_setting_reaches_the_processes_that_need_it() -> None:
    """The price database belongs to runs and API; the key and the token to no others."""
    variables = {name.upper(): "x" for name in Settings.model_fields} | SECRETS
    found = {name: set(service.environment) for name, service in services(variables).items()}
    names = {name.upper() for name in Settings.model_fields} - NOT_OFFERED
    assert names - found["api"] == set()
    assert names - found["code"] == {"API_TOKEN"}
    for name in ("webserver", "webserver-read-only", "daemon"):
        assert not {"COINGECKO_API_KEY", "API_TOKEN"} & found[name]


def test_dagsters_own_commands_get_the_storage_that_ours_derive() -> None:
    """A code server is started by Dagster's command, which needs the schema and the driver in the URL."""
    environment = services(SECRETS)["code"].environment
    settings = load_settings(None, database_url=environment["DATABASE_URL"])
    derived = storage_of(settings).variables
    assert {name: environment[name] for name in derived} == derived


def test_only_what_people_open_is_published_and_on_loopback() -> None:
    published = {one.name: one.document["ports"] for one in services(SECRETS).values() if "ports" in one.document}
    assert set(published) == {"webserver", "webserver-read-only", "api", "prometheus", "grafana"}
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_service_is_confined_and_may_end_in_peace() -> None:
    for service in services(SECRETS).values():
        document = service.document
        assert document["read_only"] and document["cap_drop"] == ["ALL"] and document["user"] != "root", service.name
        assert document["deploy"]["resources"]["limits"].keys() == {"cpus", "memory", "pids"}
        assert document["restart"] == ("no" if service.name == "migrate" else "unless-stopped")
        assert service.grace_seconds >= 60
        # Whether alerts are sent is known by ALERT_HEARTBEAT_URL, which an outside service waits for.
        assert service.health_check or service.name in ("migrate", "watch")


def test_the_image_can_hold_no_more_than_what_it_needs(tmp_path: Path) -> None:
    """Docker sends what .dockerignore leaves: what COPY names, and no secret, database or history."""
    dockerfile = (DEPLOY / "docker" / "Dockerfile").read_text()
    copied = [line.split()[:-1] for line in re.findall(r"^COPY (?!--from)(.*)$", dockerfile, re.MULTILINE)]
    needed = {source for sources in copied for source in sources}
    canaries = [
        ".env", ".env.production", "prices.db", "prices.db-wal", ".git/config", ".dagster_home/storage/x",
        "market_pipeline/.env", "market_pipeline/prices.db", "market_pipeline/api/.env.local", "deploy/.env",
        "deploy/secrets/password", "deploy/systemd/environment", "docs/api.md", "Makefile", "faults/stack.py",
    ]
    for name in (*canaries, *(name if Path(name).suffix else f"{name}/file" for name in needed)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(WORD)
    rules = (PROJECT / ".dockerignore").read_text().splitlines()
    sent = {name for name in exclude_paths(str(tmp_path), rules) if (tmp_path / name).is_file()}
    # The client adds the Dockerfile and .dockerignore for the builder; COPY does not reach them.
    assert sent - {"Dockerfile", ".dockerignore"} == {
        str(path.relative_to(tmp_path)) for name in needed for path in files_of(tmp_path / name)
    } - set(canaries)


def files_of(path: Path) -> list[Path]:
    return [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]


def test_dagster_accepts_the_instance_and_its_parts(tmp_path: Path) -> None:
    """All but the storage, which needs a server; the process test opens that."""
    document = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert document.pop("storage") == {"postgres": {"postgres_url": {"env": "DAGSTER_DATABASE_URL"}}}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(document))
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert has_lanes(instance)
        assert instance.run_launcher.supports_check_run_worker_health
        assert instance.run_monitoring_enabled and instance.run_retries_enabled
        assert type(instance.compute_log_manager).__name__ == "NoOpComputeLogManager"


def test_a_deployment_differs_from_a_laptop_in_what_it_says() -> None:
    """Else a change of one file would be forgotten in the other."""
    laptop = yaml.safe_load((PROJECT / "dagster.yaml").read_text())
    deployment = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    differences = {name for name in laptop | deployment if laptop.get(name) != deployment.get(name)}
    assert differences == {"storage", "compute_logs", "run_launcher"}


def test_containers_and_units_start_the_same_programs() -> None:
    """Their addresses differ, as does the environment in which a program is found."""
    known = services(SECRETS)
    for name in ("code", "webserver", "daemon", "api", "watch"):
        unit = (SYSTEMD / f"market-pipeline-{name}.service").read_text().replace("\\\n", " ")
        (command,) = re.findall(r"^ExecStart=(.*)$", unit, re.MULTILINE)
        words = command.replace("/opt/market-pipeline/venv/bin/", "").replace("127.0.0.1", "0.0.0.0").split()
        in_compose = [word.replace("/opt/", "/etc/") for word in known[name].document["command"]]
        assert words == in_compose, name
        # In the units themselves: what the common file sets would win over them.
        limits = known[name].document["deploy"]["resources"]["limits"]
        assert f"MemoryMax={limits['memory'].upper()}\nTasksMax={limits['pids']}\n" in unit
        assert f"TimeoutStopSec={known[name].grace_seconds}\n" in unit
