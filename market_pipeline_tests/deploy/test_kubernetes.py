"""deploy/kubernetes: manifests against Kubernetes' schemas, values against what Dagster does with them."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import dagster as dg
import kubernetes_validate
import pytest
import yaml
from dagster._core.launcher import LaunchRunContext
from dagster_k8s import K8sRunLauncher
from dagster_postgres.utils import pg_url_from_config
from sqlalchemy.engine import make_url

from market_pipeline.dagster_instance.instance_storage import storage_of
from market_pipeline.dagster_instance.lanes import LanedRunCoordinator
from market_pipeline.settings import Settings
from market_pipeline_tests.dagster_records import served_job

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
KUBERNETES = "1.34"
MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all((FOLDER / "manifests.yaml").read_text("utf-8")))
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text("utf-8"))
CODE = VALUES["dagster-user-deployments"]["deployments"][0]


# The ConfigMap or the secret holds every other setting.
NOT_OFFERED = {"API_WITHOUT_TOKEN", "CELERY_BROKER_URL", "COINGECKO_BASE_URL"}
SECRETS = {"COINGECKO_API_KEY", "API_TOKEN", "ALERT_URLS", "ALERT_HEARTBEAT_URL"}


def containers() -> Iterator[dict[str, Any]]:
    """The containers of the manifests, and the code server of the chart in the same form."""
    for manifest in MANIFESTS:
        if template := manifest.get("spec", {}).get("template"):
            yield from template["spec"]["containers"]
    yield {**CODE, "image": f"{CODE['image']['repository']}:{CODE['image']['tag']}"}


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda manifest: manifest["kind"])
def test_manifests_follow_kubernetes_schemas(manifest: dict[str, Any]) -> None:
    kubernetes_validate.validate(manifest, KUBERNETES, strict=True)


def test_every_pod_has_the_same_image_and_password_and_none_may_do_more_than_it_must() -> None:
    images = {VALUES[part]["image"]["repository"] for part in ("dagsterWebserver", "dagsterDaemon")}
    assert {container["image"].rpartition(":")[0] for container in containers()} == images
    for container in containers():
        assert container["env"][0]["name"] == "PGPASSWORD"
        assert container["env"][0]["valueFrom"]["secretKeyRef"]["name"] == VALUES["global"]["postgresqlSecretName"]
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert not [one for one in container["env"] if "value" in one], "secrets are references"


def test_the_settings_load_and_name_the_database_of_the_chart() -> None:
    data = next(manifest["data"] for manifest in MANIFESTS if manifest["kind"] == "ConfigMap")
    settings = Settings(_env_file=None, **{name.lower(): value for name, value in data.items()})
    postgresql = VALUES["postgresql"]
    chart = pg_url_from_config({"postgres_db": {
        "username": postgresql["postgresqlUsername"], "password": "", "hostname": postgresql["postgresqlHost"],
        "db_name": postgresql["postgresqlDatabase"], "port": postgresql["service"]["port"],
        "params": postgresql["postgresqlParams"], "scheme": postgresql["postgresqlScheme"],
    }})
    storage = storage_of(settings)
    assert storage.url is not None
    assert make_url(chart.replace(":@", "@")) == make_url(data["DAGSTER_DATABASE_URL"]) == storage.url
    assert settings.database.host == postgresql["postgresqlHost"] and settings.database.password is None


def test_every_setting_is_offered_and_the_secret_ones_are_references() -> None:
    data = next(manifest["data"] for manifest in MANIFESTS if manifest["kind"] == "ConfigMap")
    settings = {name.upper() for name in Settings.model_fields}
    references = {one["name"] for container in containers() for one in container["env"]} - {"PGPASSWORD"}
    assert (set(data), references) == (settings - SECRETS - NOT_OFFERED, SECRETS)


def test_the_instance_loads_with_the_lanes_of_ticks(tmp_path: Path) -> None:
    """What the chart writes into dagster.yaml, but for storage and launcher."""
    coordinator = VALUES["dagsterDaemon"]["runCoordinator"]["config"]["customRunCoordinator"]
    config = {**VALUES["additionalInstanceConfig"], "run_coordinator": coordinator}
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(config), "utf-8")
    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        assert isinstance(instance.run_coordinator, LanedRunCoordinator)
        assert instance.run_retries_enabled and not instance.run_retries_retry_on_asset_or_op_failure
        assert instance.run_monitoring_enabled


def test_a_run_is_a_valid_job_of_kubernetes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    values = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    created: list[Any] = []
    api = SimpleNamespace(create_namespaced_job=lambda body, **_: created.append(body))
    monkeypatch.setattr("dagster_k8s.launcher.load_kubernetes_config", lambda **_: None)
    pod, job = values["runK8sConfig"]["podSpecConfig"], values["runK8sConfig"]["jobSpecConfig"]
    launcher = K8sRunLauncher(
        service_account_name="dagster", instance_config_map="dagster-instance", job_namespace="market-pipeline",
        dagster_home=VALUES["global"]["dagsterHome"], postgres_password_secret=VALUES["global"]["postgresqlSecretName"],
        image_pull_policy=values["imagePullPolicy"], resources=values["resources"],
        security_context=values["securityContext"], volumes=values["volumes"], volume_mounts=values["volumeMounts"],
        run_k8s_config={"pod_spec_config": pod, "job_spec_config": job}, job_image="image:1",
        k8s_client_batch_api=api, k8s_client_core_api=SimpleNamespace(),
    )
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        run = instance.add_run(dg.DagsterRun("job", **served_job("job")))
        launcher.register_instance(instance)
        launcher.launch_run(LaunchRunContext(run, None))
    from kubernetes.client import ApiClient

    document = ApiClient().sanitize_for_serialization(created[0])
    kubernetes_validate.validate(document, KUBERNETES, strict=True)
    spec = document["spec"]["template"]["spec"]
    assert spec["securityContext"]["runAsNonRoot"] is True and document["spec"]["backoffLimit"] == 0
    assert spec["containers"][0]["securityContext"]["readOnlyRootFilesystem"] is True
