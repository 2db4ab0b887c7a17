"""The files of `deploy/`, as far as they can be checked without Docker and a cluster: by schema."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any, Literal

import dagster as dg
import pytest
import yaml
from compose_spec import PyCompose
from pydantic import BaseModel, ConfigDict, Field

from medpipe.graph import build_definitions
from medpipe.pretrain.assets import gpu_tags
from medpipe.settings import Settings

DEPLOY = Path(__file__).resolve().parents[2] / "deploy"
OURS = ("code", "webserver", "daemon", "mlflow", "bucket")


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def _with_variables(text: str) -> str:
    return re.sub(r"\$\{\w+:(-|\?)([^}]*)\}", lambda found: found[2] if found[1] == "-" else "given", text)


def test_the_compose_file_is_one_by_the_specification(compose: dict[str, Any]) -> None:
    # The validator knows neither merge keys nor variables: it gets what they stand for, as Docker does.
    read = PyCompose.from_yaml(_with_variables(yaml.safe_dump(compose)))
    read.validate()
    assert set(read.service_names()) == {*OURS, "postgres", "mlflow-database", "s3"}
    with pytest.raises(ValueError, match="bogus"):
        PyCompose.from_yaml(yaml.safe_dump(compose | {"services": {"code": {"image": "x", "bogus": 1}}}))


def test_services_name_what_is_there(compose: dict[str, Any]) -> None:
    services = compose["services"]
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)
        for volume in service.get("volumes", []):
            assert volume.partition(":")[0] in compose["volumes"]
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), "no UI without a login on other addresses"
    assert services["daemon"]["pid"] == "service:code"
    assert services["daemon"]["hostname"] == services["code"]["hostname"]
    [place] = yaml.safe_load((DEPLOY / "workspace.yaml").read_text())["load_from"]
    assert place["grpc_server"]["host"] in services
    docker = (DEPLOY / "Dockerfile").read_text()
    assert f'"--port", "{place["grpc_server"]["port"]}"' in docker and "constraints.txt" in docker


def test_every_variable_is_one_that_somebody_reads(compose: dict[str, Any]) -> None:
    fields = Settings.model_fields
    known = {str(field.validation_alias or f"MEDPIPE_{name.upper()}") for name, field in fields.items()}
    [deployment] = helm()["dagster-user-deployments"]["deployments"]
    for environment in (compose["services"]["code"]["environment"], deployment["env"]):
        assert {name for name in environment if name.startswith("MEDPIPE_")} <= known
        assert {"MEDPIPE_LAKE", "AWS_ENDPOINT_URL"} <= set(environment)


def test_no_secret_stands_in_the_files(compose: dict[str, Any]) -> None:
    for path in DEPLOY.iterdir():
        text = re.sub(r"\$\{[^}]*\}", "", path.read_text())
        for line in text.splitlines():
            found = re.search(r"(?i)(?:password|secret|token|_key)['\"]?[:=] *([^\s'\"}]+)", line)
            assert found is None or found[1] == "false" or found[1][0] == "…", f"{path.name}: {line}"
    for password in re.findall(r"://[^/@\s]*:([^@\s]*)@", (DEPLOY / "compose.yaml").read_text()):
        assert password == "${POSTGRES_PASSWORD:?set it}"


def helm() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "helm-values.yaml").read_text())
    return loaded


class _Values(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class _Image(_Values):
    repository: str
    tag: str
    pullPolicy: Literal["Always", "IfNotPresent", "Never"]


class _Secret(_Values):
    name: str


class _Deployment(_Values):
    name: str
    image: _Image
    port: int
    dagsterApiGrpcArgs: list[str]
    env: dict[str, str]
    envSecrets: list[_Secret]
    includeConfigInLaunchedRuns: dict[Literal["enabled"], bool]
    volumes: list[dict[str, Any]]
    volumeMounts: list[dict[str, str]]
    resources: dict[Literal["requests", "limits"], dict[str, str]]


class _UserDeployments(_Values):
    enabled: bool
    deployments: list[_Deployment]


class _Postgresql(_Values):
    enabled: bool
    postgresqlHost: str
    postgresqlUsername: str
    postgresqlDatabase: str
    postgresqlScheme: str
    service: dict[Literal["port"], int]


class _K8sRunLauncher(_Values):
    imagePullPolicy: Literal["Always", "IfNotPresent", "Never"]
    loadInclusterConfig: bool
    envSecrets: list[_Secret]


class _RunLauncher(_Values):
    type: Literal["K8sRunLauncher"]
    config: dict[Literal["k8sRunLauncher"], _K8sRunLauncher]


class _Queue(_Values):
    maxConcurrentRuns: int
    dequeueIntervalSeconds: int


class _Coordinator(_Values):
    enabled: bool
    type: Literal["QueuedRunCoordinator"]
    config: dict[Literal["queuedRunCoordinator"], _Queue]


class _Daemon(_Values):
    enabled: bool
    runCoordinator: _Coordinator
    runMonitoring: dict[str, int | bool]
    runRetries: dict[str, int | bool]


class _Chart(_Values):
    """Those keys of the chart's values that we set, as its own schema names them."""

    global_: dict[Literal["postgresqlSecretName"], str] = Field(alias="global")
    generatePostgresqlPasswordSecret: bool
    postgresql: _Postgresql
    user_deployments: _UserDeployments = Field(alias="dagster-user-deployments")
    runLauncher: _RunLauncher
    dagsterWebserver: dict[Literal["service"], dict[str, str | int]]
    dagsterDaemon: _Daemon
    concurrency: dict[Literal["pools"], dict[str, str | int]]
    retention: dict[str, Any]
    telemetry: dict[Literal["enabled"], bool]


def test_the_helm_values_have_the_keys_of_the_chart() -> None:
    chart = _Chart.model_validate(helm())
    [deployment] = chart.user_deployments.deployments
    mounted = {mount["name"] for mount in deployment.volumeMounts}
    assert mounted == {volume["name"] for volume in deployment.volumes}
    assert deployment.env["MEDPIPE_EXECUTOR"] == "kubernetes"


def test_steps_on_kubernetes_ask_for_gpus_by_their_op_tags(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dagster_k8s.job import get_user_defined_k8s_config

    for name in ("MEDPIPE_HUB", "MEDPIPE_SOURCES", "MEDPIPE_LAKE"):
        monkeypatch.setenv(name, "")
    settings = Settings(home=tmp_path, plan="tiny", executor="kubernetes")
    definitions = build_definitions(settings)
    assert isinstance(definitions.executor, dg.ExecutorDefinition) and definitions.executor.name == "k8s"
    graph = definitions.resolve_asset_graph()
    asked = {}
    for key in graph.materializable_asset_keys:
        tags = graph.get(key).assets_def.node_def.tags
        if "dagster-k8s/config" in tags:
            config = get_user_defined_k8s_config(tags).container_config
            asked[key.to_user_string()] = config["resources"]["limits"]["nvidia.com/gpu"]
    assert asked == {f"pretrain/{stage}": "1" for stage in ("fast", "stable", "anneal", "converge")}
    wrong = gpu_tags(2)["dagster-k8s/config"]
    wrong["container_config"]["resorces"] = {}
    with pytest.raises(Exception, match="resorces"):
        get_user_defined_k8s_config({"dagster-k8s/config": json.dumps(wrong)})


def test_the_entry_point_prepares_the_instance_and_becomes_the_command(tmp_path: Path) -> None:
    show = "import os; print(os.environ['DAGSTER_HOME'], os.environ['MEDPIPE_DAGSTER_POSTGRES_URL'])"
    url = "postgresql://medpipe:planted@127.0.0.1:1/dagster"
    out = subprocess.run(
        [sys.executable, "-m", "medpipe.operate.entrypoint", sys.executable, "-c", show],
        env={"PATH": "/usr/bin:/bin", "MEDPIPE_HOME": str(tmp_path), "MEDPIPE_DAGSTER_POSTGRES_URL": url}
        | {"PYTHONPATH": str(DEPLOY.parent)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert out.stdout.split() == [str(tmp_path / "dagster"), url.replace("://", "+psycopg2://")]
    written = (tmp_path / "dagster" / "dagster.yaml").read_text()
    assert "env: MEDPIPE_DAGSTER_POSTGRES_URL" in written and "planted" not in written
